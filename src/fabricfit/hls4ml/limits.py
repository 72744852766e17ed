"""What hls4ml 1.3 does not build as a Keras model says: one table, each row proved by a test against hls4ml.

A row says how it is recognized, what hls4ml does, what fabricfit makes of it, and what the user can do. A
newer hls4ml that does better makes a row's test fail: then the row goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fabricfit.hls4ml.converters import CONVERTED, LARGEST_UNROLLED, NOISE
from fabricfit.hls4ml.findings import Finding, Limit, Verdict
from fabricfit.hls4ml.site import Site

__all__ = ["LIMITS", "find_limits"]


_CONVOLUTIONS = (
    *("Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"),
    *("SeparableConv1D", "SeparableConv2D"),
)
_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D", "QDepthwiseConv2D")
_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "Bidirectional")
_MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
_ACTIVATIONS = (
    *("linear", "relu", "relu6", "sigmoid", "tanh", "softmax", "hard_sigmoid", "leaky_relu"),
    *("elu", "selu", "softplus", "softsign"),
)
"""Activations that the code of hls4ml's Vivado and Vitis backends computes as Keras does."""
_GATES = ("relu", "sigmoid", "tanh")
_MASKED = (*_RECURRENT, "GlobalAveragePooling1D", "Softmax")


def _is_operation(site: Site) -> bool:
    return ".ops." in type(site.layer).__module__ and site.is_keras


def _is_model(site: Site) -> bool:
    return site.option("layers") is not None and site.option("inputs") is not None


def _has_no_converter(site: Site) -> bool:
    known = (
        _is_operation(site)
        or _is_model(site)
        or site.kind in (*NOISE, "Rescaling", "Normalization")
    )
    return site.is_keras and not known and site.kind not in CONVERTED


def _has_channels_first(site: Site) -> bool:
    return site.option("data_format") == "channels_first" and len(site.shape) > 1


def _has_wide_dense(site: Site) -> bool:
    return site.is_one_of("Dense") and len(site.shape) > 3


def _normalizes_other_axis(site: Site) -> bool:
    if site.kind not in ("BatchNormalization", "QBatchNormalization") or site.package == "hgq":
        return False
    axis, rank = site.numbers("axis"), len(site.shape)
    return len(axis) != 1 or axis[0] not in (-1, rank)


def _normalizes_many_axes(site: Site) -> bool:
    return site.is_one_of("BatchNormalization") and len(site.shape) > 3


def _normalizes_depthwise(site: Site) -> bool:
    return (
        site.is_one_of("BatchNormalization")
        and type(site.before).__name__ in _DEPTHWISE
        and site.result_is_open
    )


def _normalizes_no_sequence(site: Site) -> bool:
    sequence = len(site.shape) == 2 and site.numbers("axis") == (2,)
    return site.is_one_of("LayerNormalization") and not sequence


def _runs_backwards(site: Site) -> bool:
    return site.is_one_of("SimpleRNN", "LSTM", "GRU") and bool(site.option("go_backwards"))


def _has_other_gates(site: Site) -> bool:
    if not site.is_one_of(*_RECURRENT) or site.kind == "SimpleRNN":
        return False
    names = [
        getattr(getattr(layer, attribute, None), "__name__", "")
        for layer in site.inner()
        for attribute in ("activation", "recurrent_activation")
    ]
    return any(name not in _GATES for name in names)


def _has_other_activation(site: Site) -> bool:
    recurrent = site.is_one_of(*_RECURRENT)
    return site.is_keras and not recurrent and site.activation() not in _ACTIVATIONS


def _has_gru_inside(site: Site) -> bool:
    return site.is_one_of("Bidirectional") and any(type(x).__name__ == "GRU" for x in site.inner())


def _merges_many(site: Site) -> bool:
    return site.is_one_of(*_MERGES) and len(site.inputs) > 2 and not _is_operation(site)


def _pads_pooling(site: Site) -> bool:
    pools = site.is_one_of("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D")
    if not pools or site.option("padding") != "same":
        return False
    axes = zip(site.shape, site.numbers("pool_size"), site.numbers("strides"), strict=False)
    return any((-(-(n or 1) // step) - 1) * step + size > (n or 1) for n, size, step in axes)


def _multiplies_otherwise(site: Site) -> bool:
    matrices = any(len(shape) > 1 for shape in site.inputs)
    return site.is_one_of("Dot") and (matrices or bool(site.option("normalize")))


def _broadcasts(site: Site) -> bool:
    numbers = site.is_one_of(*_MERGES) and site.kind not in ("Concatenate", "Dot")
    return numbers and len({math.prod(n or 1 for n in shape) for shape in site.inputs}) > 1


def _drops_mask(site: Site) -> bool:
    return site.masked and site.is_one_of(*_MASKED)


def _has_unknown_size(site: Site) -> bool:
    return site.kind == "InputLayer" and None in site.outputs[0]


def _is_unrolled_too_far(site: Site) -> bool:
    constants = site.strategy == "latency" or (
        site.strategy.startswith("resource") and site.reuse_factor == 1
    )
    return constants and site.weights > LARGEST_UNROLLED


def _softmax_axis(site: Site) -> int | None:
    axis = site.option("axis")
    if not site.is_one_of("Softmax"):
        return -1
    if not isinstance(axis, int):
        return None
    return -1 if axis == len(site.shape) else axis


LIMITS: tuple[Limit, ...] = (
    Limit(
        "no converter",
        _has_no_converter,
        "cannot convert it: it has no converter for {kind}",
        "Replace it by layers that hls4ml converts (see 'What can be done with each layer').",
    ),
    Limit(
        "operation",
        _is_operation,
        "cannot convert it: it sees layers only, and this is an operation on tensors",
        "Write it as a layer: keras.layers.Add()([a, b]) instead of a + b.",
    ),
    Limit(
        "model inside a model",
        _is_model,
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
        lambda site: site.is_one_of(*_CONVOLUTIONS) and set(site.numbers("dilation_rate")) != {1},
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
        _has_channels_first,
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
        lambda site: site.kind in _DEPTHWISE and site.option("depth_multiplier", 1) != 1,
        "ignores the depth_multiplier of a depthwise convolution, and builds another function, or stops",
        "Use depth_multiplier=1, or Conv, whose zeros cost nothing with Latency.",
    ),
    Limit(
        "depthwise resource",
        lambda site: site.kind in _DEPTHWISE and site.strategy == "resource" and not site.streams,
        "has no code for depthwise convolutions with Resource and io_parallel: it stops when it runs",
        "Use Latency for this layer, or io_stream.",
    ),
    Limit(
        "dense on many axes",
        _has_wide_dense,
        "cannot convert it: it builds Dense on up to three axes",
        "Reshape its input to at most three axes.",
    ),
    Limit(
        "normalized axis",
        _normalizes_other_axis,
        "normalizes the last axis, whichever axis the layer says",
        "Use axis=-1, with a Permute before and behind it if need be.",
    ),
    Limit(
        "normalized images of three axes",
        _normalizes_many_axes,
        "builds batch normalizations on up to three axes",
        "Reshape its input to at most three axes.",
    ),
    Limit(
        "normalized depthwise convolution",
        _normalizes_depthwise,
        "folds it wrongly into the depthwise convolution before it, and builds another function, or stops",
        "State a number format for the results of the convolution, not 'auto'; fit folds it beforehand.",
        Verdict.WORKED_AROUND,
    ),
    Limit(
        "layer normalization",
        _normalizes_no_sequence,
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
        "backwards",
        _runs_backwards,
        "ignores go_backwards, and builds another function",
        "Reverse the input, or use Bidirectional.",
    ),
    Limit(
        "states",
        lambda site: site.is_one_of(*_RECURRENT)
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
        _has_other_gates,
        "has no code for activations of recurrent layers other than sigmoid, tanh and relu",
        "Use one of these.",
    ),
    Limit(
        "bidirectional GRU",
        _has_gru_inside,
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
        _drops_mask,
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
        _has_other_activation,
        "has no code for its activation",
        f"Use one of {', '.join(_ACTIVATIONS)}.",
    ),
    Limit(
        "softmax axes",
        lambda site: _softmax_axis(site) is None,
        "cannot convert a Softmax over several axes",
        "Use a single axis.",
    ),
    Limit(
        "softmax axis in a stream",
        lambda site: site.streams and _softmax_axis(site) not in (None, -1),
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
        lambda site: site.streams and _pads_pooling(site),
        "has no code for pooling that pads with io_stream: it stops when it runs",
        "Use padding='valid', or io_parallel.",
    ),
    Limit(
        "merged tensors",
        _merges_many,
        "merges two tensors, not more",
        "Merge them two by two.",
    ),
    Limit(
        "dot",
        _multiplies_otherwise,
        "multiplies two vectors, not matrices, and never normalizes them",
        "Flatten the inputs of Dot, and leave out normalize=True.",
    ),
    Limit(
        "broadcast stream",
        lambda site: _broadcasts(site) and site.streams,
        "cannot merge inputs of different shapes with io_stream",
        "Use io_parallel, or inputs of one shape.",
    ),
    Limit(
        "pooling of three axes",
        lambda site: site.is_keras and "Pooling3D" in site.kind,
        "cannot convert it: it pools along one or two axes",
        "Pool along two axes.",
    ),
    Limit(
        "unknown size",
        _has_unknown_size,
        "builds shapes of known size only; an estimate counts an unknown size as 1 position",
        "Build the model with an Input of the size that it will have.",
    ),
    Limit(
        "unrolled too far",
        _is_unrolled_too_far,
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
