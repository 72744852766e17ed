"""How each limit of hls4ml is recognized in a call of a layer."""

from __future__ import annotations

import math

from fabricfit.hls4ml.converters import CONVERTED, CONVERTED_QKERAS, LARGEST_UNROLLED, NOISE
from fabricfit.hls4ml.reuse_factor import legal_reuse_factor
from fabricfit.hls4ml.site import Site

__all__ = [
    "ACTIVATIONS",
    "CONVOLUTIONS",
    "DEPTHWISE",
    "EINSUMS",
    "RECURRENT",
    "asks_for_graph",
    "broadcasts",
    "broadcasts_behind",
    "drops_mask",
    "has_channels_first",
    "has_gru_inside",
    "has_no_converter",
    "has_other_activation",
    "has_other_gates",
    "has_unknown_size",
    "has_wide_dense",
    "is_model",
    "is_operation",
    "is_unrolled_too_far",
    "merges_many",
    "multiplies_otherwise",
    "normalizes_depthwise",
    "normalizes_many_axes",
    "normalizes_no_sequence",
    "normalizes_other_axis",
    "pads_pooling",
    "resets_before",
    "runs_backwards",
    "softmax_axis",
    "stops_at_reuse",
]

CONVOLUTIONS = (
    *("Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"),
    *("SeparableConv1D", "SeparableConv2D"),
)
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D", "QDepthwiseConv2D")
EINSUMS = ("EinsumDense", "QEinsumDense", "QEinsumDenseBatchnorm")
RECURRENT = ("SimpleRNN", "LSTM", "GRU", "Bidirectional")
_MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
ACTIVATIONS = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu"),
    *("sigmoid", "tanh", "softmax", "softplus", "softsign"),
)
"""Activations that the code of hls4ml's Vivado and Vitis backends computes as Keras does."""
_GATES = ("relu", "sigmoid", "tanh")
_MASKED = (*RECURRENT, "GlobalAveragePooling1D", "Softmax")


def asks_for_graph(site: Site) -> bool:
    """Return whether a section of its own asks for a graph of adders where there is no kernel."""
    folded = site.kind == "BatchNormalization" and site.result_is_open
    passed_over = folded or site.kind in ("Dropout", *NOISE)
    return "distributed_arithmetic" in site.own_strategies and not passed_over


def is_operation(site: Site) -> bool:
    """Return whether it is an operation on tensors, called without a layer."""
    return ".ops." in type(site.layer).__module__ and site.is_keras


def is_model(site: Site) -> bool:
    """Return whether it is a model inside the model."""
    return site.option("layers") is not None and site.option("inputs") is not None


def has_no_converter(site: Site) -> bool:
    """Return whether it is a layer of Keras or QKeras without a converter, of which nothing else is known."""
    if site.package == "qkeras":
        return site.kind not in CONVERTED_QKERAS
    known = (
        is_operation(site) or is_model(site) or site.kind in (*NOISE, "Rescaling", "Normalization")
    )
    return site.is_keras and not known and site.kind not in CONVERTED


def has_channels_first(site: Site) -> bool:
    """Return whether channels are before the positions."""
    return site.option("data_format") == "channels_first" and len(site.shape) > 1


def has_wide_dense(site: Site) -> bool:
    """Return whether a Dense layer has more axes than hls4ml builds."""
    return site.is_one_of("Dense") and len(site.shape) > 3


def normalizes_other_axis(site: Site) -> bool:
    """Return whether a batch normalization is of another axis than the last one."""
    if site.kind not in ("BatchNormalization", "QBatchNormalization") or site.package == "hgq":
        return False
    axis, rank = site.numbers("axis"), len(site.shape)
    return len(axis) != 1 or axis[0] not in (-1, rank)


def normalizes_many_axes(site: Site) -> bool:
    """Return whether a batch normalization has more axes than hls4ml builds."""
    return site.is_one_of("BatchNormalization") and len(site.shape) > 3


def normalizes_depthwise(site: Site) -> bool:
    """Return whether hls4ml folds a batch normalization into a depthwise convolution."""
    return (
        site.is_one_of("BatchNormalization")
        and type(site.before).__name__ in DEPTHWISE
        and site.result_is_open
    )


def normalizes_no_sequence(site: Site) -> bool:
    """Return whether a layer normalization is not one that hls4ml builds."""
    sequence = len(site.shape) == 2 and site.numbers("axis") == (2,)
    return site.is_one_of("LayerNormalization") and not sequence


def runs_backwards(site: Site) -> bool:
    """Return whether a recurrent layer begins at the last step."""
    return site.is_one_of("SimpleRNN", "LSTM", "GRU") and bool(site.option("go_backwards"))


def has_other_gates(site: Site) -> bool:
    """Return whether a recurrent layer has activations that hls4ml has no code for."""
    if not site.is_one_of(*RECURRENT) or site.kind == "SimpleRNN":
        return False
    names = [
        getattr(getattr(layer, attribute, None), "__name__", "")
        for layer in site.inner()
        for attribute in ("activation", "recurrent_activation")
    ]
    return any(name not in _GATES for name in names)


def has_other_activation(site: Site) -> bool:
    """Return whether hls4ml has no code for an activation."""
    recurrent = site.is_one_of(*RECURRENT)
    return site.is_keras and not recurrent and site.activation() not in ACTIVATIONS


def resets_before(site: Site) -> bool:
    """Return whether a GRU resets its state before it multiplies it."""
    layers = site.inner() if site.is_one_of("GRU", "Bidirectional") else ()
    return any(getattr(layer, "reset_after", True) is False for layer in layers)


def stops_at_reuse(site: Site) -> bool:
    """Return whether the code of a recurrent layer stops at the reuse factors of its kernels.

    By the factor of the inputs' kernel, as one of three gates for Bidirectional, hls4ml chooses a function
    for both kernels: the one for divisors of the rows, or that for multiples of them.
    """
    if not site.is_one_of("LSTM", "GRU", "Bidirectional") or site.strategy != "resource":
        return False
    rows, factors = site.shape[-1] or 1, site.reuse_factors
    for layer, own, states in zip(site.inner(), factors[::2], factors[1::2], strict=False):
        units = int(layer.units)
        wrapped = site.kind == "Bidirectional"
        chosen = legal_reuse_factor(rows, 3 * units, own) if wrapped else own
        for size, factor in ((rows, own), (units, states)):
            divides = factor <= size and size % factor == 0
            is_multiple = factor > size and factor % size == 0
            if not (divides if chosen <= size else is_multiple):
                return True
    return False


def has_gru_inside(site: Site) -> bool:
    """Return whether a GRU runs in both directions."""
    return site.is_one_of("Bidirectional") and any(type(x).__name__ == "GRU" for x in site.inner())


def merges_many(site: Site) -> bool:
    """Return whether more than two tensors are merged."""
    return site.is_one_of(*_MERGES) and len(site.inputs) > 2 and not is_operation(site)


def pads_pooling(site: Site) -> bool:
    """Return whether pooling pads."""
    pools = site.is_one_of("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D")
    if not pools or site.option("padding") != "same":
        return False
    axes = zip(site.shape, site.numbers("pool_size"), site.numbers("strides"), strict=False)
    return any((-(-(n or 1) // step) - 1) * step + size > (n or 1) for n, size, step in axes)


def multiplies_otherwise(site: Site) -> bool:
    """Return whether a Dot is none of two vectors as they are."""
    matrices = any(len(shape) > 1 for shape in site.inputs)
    return site.is_one_of("Dot") and (matrices or bool(site.option("normalize")))


def broadcasts(site: Site) -> bool:
    """Return whether inputs of several sizes are merged."""
    numbers = site.is_one_of(*_MERGES) and site.kind not in ("Concatenate", "Dot")
    return numbers and len({math.prod(n or 1 for n in shape) for shape in site.inputs}) > 1


def broadcasts_behind(site: Site) -> bool:
    """Return whether a smaller input is repeated along other axes than the first ones."""
    if not broadcasts(site) or len(site.inputs) != 2:
        return False
    smaller, larger = sorted((tuple(n or 1 for n in shape) for shape in site.inputs), key=math.prod)
    kept = list(smaller)
    while kept and kept[0] == 1:
        del kept[0]
    return bool(kept) and tuple(kept) != larger[len(larger) - len(kept) :]


def drops_mask(site: Site) -> bool:
    """Return whether a layer that heeds masks receives one."""
    return site.masked and site.is_one_of(*_MASKED)


def has_unknown_size(site: Site) -> bool:
    """Return whether an input of the model has an axis of unknown length."""
    return site.kind == "InputLayer" and None in site.outputs[0]


def is_unrolled_too_far(site: Site) -> bool:
    """Return whether there are more constant weights than an array of the project may be partitioned into."""
    constants = site.strategy == "latency" or (
        site.strategy.startswith("resource") and site.reuse_factor == 1
    )
    return constants and site.weights > LARGEST_UNROLLED


def softmax_axis(site: Site) -> int | None:
    """Return the axis of a Softmax, -1 for the last one and for other layers, None for several."""
    axis = site.option("axis")
    if not site.is_one_of("Softmax"):
        return -1
    if not isinstance(axis, int):
        return None
    return -1 if axis == len(site.shape) else axis
