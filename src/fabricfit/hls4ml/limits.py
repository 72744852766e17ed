"""What hls4ml 1.3 does not build as a Keras model says: one table, each row proved by a test against hls4ml.

A row says how it is recognized, what hls4ml does, what fabricfit makes of it, and what the user can do. A
newer hls4ml that does better makes a row's test fail: then the row goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fabricfit.hls4ml.backends import find_backend
from fabricfit.hls4ml.converters import LARGEST_UNROLLED, NOISE
from fabricfit.hls4ml.findings import Finding, Limit, Verdict
from fabricfit.hls4ml.recognition import (
    ACTIVATIONS,
    CONVOLUTIONS,
    DEPTHWISE,
    EINSUMS,
    RECURRENT,
    asks_for_graph,
    broadcasts,
    broadcasts_behind,
    drops_mask,
    has_channels_first,
    has_gru_inside,
    has_no_converter,
    has_other_activation,
    has_other_gates,
    has_unknown_size,
    has_wide_dense,
    is_model,
    is_operation,
    is_unrolled_too_far,
    merges_many,
    multiplies_otherwise,
    normalizes_depthwise,
    normalizes_many_axes,
    normalizes_no_sequence,
    normalizes_other_axis,
    pads_pooling,
    resets_before,
    runs_backwards,
    softmax_axis,
    stops_at_reuse,
)
from fabricfit.hls4ml.site import Site

__all__ = ["LIMITS", "find_limits"]


LIMITS: tuple[Limit, ...] = (
    Limit(
        "no converter",
        has_no_converter,
        "cannot convert it: it has no converter for {kind}",
        "Replace it by layers that hls4ml converts (see 'What can be done with each layer').",
    ),
    Limit(
        "operation",
        is_operation,
        "cannot convert it: it sees layers only, and this is an operation on tensors",
        "Write it as a layer: keras.layers.Add()([a, b]) instead of a + b.",
    ),
    Limit(
        "model inside a model",
        is_model,
        "cannot convert it: it stops at models inside of a model",
        "Call the layers of the inner model one by one instead.",
    ),
    Limit(
        "wrapped layer",
        lambda site: site.is_one_of("TimeDistributed"),
        "cannot convert it: it stops at this wrapper",
        "Dense works on the last axis without it; write convolutions with one axis more.",
    ),
    Limit(
        "scaling",
        lambda site: site.is_one_of("Rescaling", "Normalization"),
        "cannot convert it: it has no converter for {kind}",
        "fit folds it into the layer behind it, or makes it a batch normalization, where that is exact.",
        Verdict.WORKED_AROUND,
    ),
    Limit(
        "noise",
        lambda site: site.is_one_of(*NOISE),
        "cannot convert it: it has no converter for {kind}",
        "It does nothing at inference: leave it out of the model.",
    ),
    Limit(
        "dilation",
        lambda site: site.is_one_of(*CONVOLUTIONS) and set(site.numbers("dilation_rate")) != {1},
        "ignores the dilation of a convolution, and builds another function, or stops",
        "Use a larger kernel with zeros between its weights: they cost nothing with Latency.",
    ),
    Limit(
        "groups",
        lambda site: site.is_one_of("Conv1D", "Conv2D") and site.option("groups", 1) != 1,
        "ignores the groups of a convolution, and reads weights that are not there",
        "Use a convolution for each group, or DepthwiseConv where every channel is one.",
    ),
    Limit(
        "channels first",
        has_channels_first,
        "builds layers with data_format='channels_first' wrongly, or not at all",
        "Use data_format='channels_last'.",
    ),
    Limit(
        "separable convolution",
        lambda site: site.is_one_of("SeparableConv1D", "SeparableConv2D"),
        "cannot convert it: it looks for a kernel that {kind} has not",
        "Use DepthwiseConv and a Conv of kernel size 1 behind it, which compute the same.",
    ),
    Limit(
        "depth multiplier",
        lambda site: site.kind in DEPTHWISE and site.option("depth_multiplier", 1) != 1,
        "ignores the depth_multiplier of a depthwise convolution, and builds another function, or stops",
        "Use depth_multiplier=1, or Conv, whose zeros cost nothing with Latency.",
    ),
    Limit(
        "depthwise resource",
        lambda site: site.kind in DEPTHWISE and site.strategy == "resource" and not site.streams,
        "has no code for depthwise convolutions with Resource and io_parallel: it stops when it runs",
        "Use Latency for this layer, or io_stream.",
    ),
    Limit(
        "accelerator strategy",
        lambda site: site.strategy in find_backend(site.backend).stops_at,
        "stops at ResourceUnrolled and distributed arithmetic with the backend VivadoAccelerator, whose code "
        "generators know Vivado and Vitis only",
        "Use Latency, where zeros cost nothing either, or Resource as it is; or the backend Vivado.",
    ),
    Limit(
        "graph without a kernel",
        asks_for_graph,
        "stops at distributed arithmetic in a section of its own for what has no kernel, activations split "
        "off a layer included",
        "Leave 'Strategy' out of its section; under 'Model' it is passed over where there is no kernel.",
    ),
    Limit(
        "einsum resource",
        lambda site: site.kind in EINSUMS and site.strategy == "resource",
        "has no code for sums of products by an equation with Resource: it stops",
        "Use Latency or distributed arithmetic, where zeros cost nothing either.",
    ),
    Limit(
        "einsum in a stream",
        lambda site: site.kind in EINSUMS and site.streams,
        "has code for sums of products by an equation with io_parallel only: it stops",
        "Use io_parallel, or Dense where the equation is that of one.",
    ),
    Limit(
        "dense on many axes",
        has_wide_dense,
        "cannot convert it: it builds Dense on up to three axes",
        "Reshape its input to at most three axes.",
    ),
    Limit(
        "normalized axis",
        normalizes_other_axis,
        "normalizes the last axis, whichever axis the layer says",
        "Use axis=-1, with a Permute before and behind it if need be.",
    ),
    Limit(
        "normalized images of three axes",
        normalizes_many_axes,
        "builds batch normalizations on up to three axes",
        "Reshape its input to at most three axes.",
    ),
    Limit(
        "normalized depthwise convolution",
        normalizes_depthwise,
        "folds it wrongly into the depthwise convolution before it, and builds another function, or stops",
        "State a number format for the results of the convolution, not 'auto'; fit folds it beforehand.",
        Verdict.WORKED_AROUND,
    ),
    Limit(
        "layer normalization",
        normalizes_no_sequence,
        "cannot convert it: it builds LayerNormalization of sequences with axis=2 only",
        "Say axis=2 instead of -1, on inputs of two axes.",
    ),
    Limit(
        "simple recurrent layer",
        lambda site: site.kind in ("SimpleRNN", "QSimpleRNN"),
        "reads SimpleRNN and writes no code for it",
        "Use GRU or LSTM.",
    ),
    Limit(
        "recurrent quantizers",
        lambda site: site.package == "qkeras" and site.kind in ("QLSTM", "QGRU"),
        "ignores the quantizers of {kind}, applies its activation twice, and builds another function",
        "Use LSTM or GRU, and state the number formats in the configuration.",
    ),
    Limit(
        "HGQ2 recurrent layer",
        lambda site: site.package == "hgq" and site.kind == "QGRU",
        "writes code for {kind} that does not compile",
        "Use GRU, and state the number formats in the configuration.",
    ),
    Limit(
        "HGQ2 attention",
        lambda site: site.package == "hgq" and site.kind == "QMultiHeadAttention",
        "builds {kind} as another function",
        "Build it of QEinsumDense, QDense and QSoftmax.",
    ),
    Limit(
        "backwards",
        runs_backwards,
        "ignores go_backwards, and builds another function",
        "Reverse the input, or use Bidirectional.",
    ),
    Limit(
        "reset gate",
        resets_before,
        "builds a GRU with reset_after=False as another function",
        "Use reset_after=True, which is Keras' default.",
    ),
    Limit(
        "states",
        lambda site: site.is_one_of(*RECURRENT)
        and bool(
            site.option("return_state")
            or site.option("stateful")
            or (site.called_with_more and not site.masked)
        ),
        "cannot pass states into or out of a recurrent layer, or keep them",
        "Leave out return_state, stateful and initial_state.",
    ),
    Limit(
        "gates",
        has_other_gates,
        "has no code for activations of recurrent layers other than sigmoid, tanh and relu",
        "Use one of these.",
    ),
    Limit(
        "recurrent reuse factor",
        stops_at_reuse,
        "chooses code for other reuse factors than those of its kernels with Resource: it stops when it runs",
        "Use a ReuseFactor that divides both the inputs and the units, or Latency.",
    ),
    Limit(
        "bidirectional GRU",
        has_gru_inside,
        "cannot convert it: it stops at Bidirectional GRU",
        "Use LSTM in it.",
    ),
    Limit(
        "bidirectional stream",
        lambda site: site.is_one_of("Bidirectional") and site.streams,
        "cannot convert it: it builds Bidirectional with io_parallel only",
        "Use io_parallel.",
    ),
    Limit(
        "merged directions",
        lambda site: site.is_one_of("Bidirectional") and site.option("merge_mode") != "concat",
        "concatenates the two directions, whatever merge_mode says",
        "Use merge_mode='concat'.",
    ),
    Limit(
        "mask",
        drops_mask,
        "knows no masks: it stops, or computes with the steps that are masked",
        "Pass sequences of full length, without Masking and mask_zero.",
    ),
    Limit(
        "ceiling",
        lambda site: site.is_one_of("ReLU") and site.option("max_value") not in (None, math.inf),
        "cannot convert a ReLU with a max_value",
        "Use Activation('relu6') if it is 6, else leave it out: the number format saturates.",
    ),
    Limit(
        "threshold and slope",
        lambda site: site.is_one_of("ReLU")
        and bool(site.option("threshold") and site.option("negative_slope")),
        "cannot convert a ReLU with both a threshold and a negative_slope",
        "Use one of them.",
    ),
    Limit(
        "activation",
        has_other_activation,
        "has no code for its activation, or computes another one",
        f"Use one of {', '.join(ACTIVATIONS)}.",
    ),
    Limit(
        "relu6 in a stream",
        lambda site: site.is_keras and site.streams and site.activation() == "relu6",
        "has no code for relu6 with io_stream",
        "Use relu, whose number format saturates, or io_parallel.",
    ),
    Limit(
        "softmax axes",
        lambda site: softmax_axis(site) is None,
        "cannot convert a Softmax over several axes",
        "Use a single axis.",
    ),
    Limit(
        "softmax axis in a stream",
        lambda site: site.streams and softmax_axis(site) not in (None, -1),
        "computes a Softmax over another axis than the last one with io_parallel only: it stops when it runs",
        "Use io_parallel, or a Permute before and behind it.",
    ),
    Limit(
        "shared slopes",
        lambda site: site.is_one_of("PReLU") and bool(site.option("shared_axes")),
        "ignores shared_axes, and reads slopes that are not there",
        "Leave out shared_axes.",
    ),
    Limit(
        "padded pooling in a stream",
        lambda site: site.streams and pads_pooling(site),
        "has no code for pooling that pads with io_stream: it stops when it runs",
        "Use padding='valid', or io_parallel.",
    ),
    Limit(
        "merged tensors",
        merges_many,
        "merges two tensors, not more",
        "Merge them two by two.",
    ),
    Limit(
        "dot",
        multiplies_otherwise,
        "multiplies two vectors, not matrices, and never normalizes them",
        "Flatten the inputs of Dot, and leave out normalize=True.",
    ),
    Limit(
        "broadcast stream",
        lambda site: broadcasts(site) and site.streams,
        "cannot merge inputs of different shapes with io_stream",
        "Use io_parallel, or inputs of one shape.",
    ),
    Limit(
        "broadcast behind",
        lambda site: not site.streams and broadcasts_behind(site),
        "repeats the smaller of two inputs along the first axes only, and builds another function here",
        "Merge inputs of one shape.",
    ),
    Limit(
        "interpolation",
        lambda site: site.is_one_of("UpSampling2D") and site.option("interpolation") != "nearest",
        "has code for interpolation='nearest' only",
        "Use interpolation='nearest'.",
    ),
    Limit(
        "embedding on many axes",
        lambda site: site.is_one_of("Embedding") and len(site.shape) > 1,
        "looks words up along one axis only, and builds another function here",
        "Flatten the words in front of Embedding, and reshape behind it.",
    ),
    Limit(
        "pooling of three axes",
        lambda site: site.is_keras and "Pooling3D" in site.kind,
        "cannot convert it: it pools along one or two axes",
        "Pool along two axes.",
    ),
    Limit(
        "unknown size",
        has_unknown_size,
        "builds shapes of known size only; an estimate counts an unknown size as 1 position",
        "Build the model with an Input of the size that it will have.",
    ),
    Limit(
        "unrolled too far",
        is_unrolled_too_far,
        f"partitions arrays of up to {LARGEST_UNROLLED} numbers, and HLS tools stop or take very long at "
        "larger layers whose weights are all constants",
        "Use Resource with a reuse factor above 1, or prune the layer.",
        Verdict.WARNED,
    ),
)  # fmt: skip
"""The table."""


def find_limits(sites: Iterable[Site]) -> tuple[Finding, ...]:
    """Return every limit that calls of layers meet, each once for a layer, in the order of the calls."""
    found = {
        (site.name, limit.name): Finding(site.name, site.kind, limit)
        for site in sites
        for limit in LIMITS
        if limit.applies(site)
    }
    return tuple(found.values())
