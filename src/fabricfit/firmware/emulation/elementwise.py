"""Element-wise layers: scales, sums and products of two inputs, padding, and changes of shape; Dot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import (
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    multiply,
)
from fabricfit.firmware.emulation.matrix_products import same_padding
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights

__all__: list[str] = []


@register("BatchNormalization")
def batch_normalization(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Multiply by a scale and add an offset for each channel (``nnet_batchnorm.h``)."""
    if node.get_attr("scale_quantizer") is not None:
        raise NotModelledError("batch normalizations with a quantizer of their own")
    scale, offset = weights.scale_and_offset(node)
    return cast(add(multiply(inputs[0], scale), offset), result_format(node))


@register("Reshape", "Repack", "Clone")
def same_numbers(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Return the same numbers in the node's shape."""
    shape = [int(n) for n in node.get_output_variable().shape]
    return cast(inputs[0].reshaped(-1, *shape), result_format(node))


@register("ZeroPadding1D", "ZeroPadding2D")
def zero_padding(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Add zeros at the edges: a padding layer of the model, or the padding of a convolution."""
    x = inputs[0]
    if (own := weights.find(node.name)) is not None:
        edges = np.atleast_2d(own.padding)
    else:
        layer = weights.find(node.name.partition("_")[2])
        if layer is None or getattr(layer, "padding", None) != "same":
            raise NotModelledError(f"{node.name!r}, padding that belongs to no layer of the model")
        shapes = zip(x.shape[1:-1], layer.kernel_size, layer.strides, strict=True)
        edges = np.array([same_padding(*each) for each in shapes])
    padded = np.pad(x.values, [(0, 0), *(tuple(edge) for edge in edges), (0, 0)])
    return cast(FixedTensor(padded, x.format), result_format(node))


@register("Merge")
def merge(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Combine two inputs, number by number (``nnet_merge.h``); the smaller one is repeated as Keras does."""
    a, b = _broadcast(*inputs)
    result, operation = result_format(node), str(node.get_attr("op")).lower()
    match operation:
        case "add":
            return cast(add(a, b), result)
        case "subtract":
            return cast(add(a, b, -1), result)
        case "multiply":
            return cast(multiply(a, b), result)
        case "average":
            return cast(multiply(add(a, b), FixedTensor(np.array(1), Format(1, 0, False))), result)
        case "maximum" | "minimum":
            first = add(a, b, -1).values * (1 if operation == "maximum" else -1) > 0
            chosen = np.where(first, cast(a, result).values, cast(b, result).values)
            return FixedTensor(chosen, result)
    raise NotModelledError(f"merging by {operation!r}")


@register("Dot")
def dot(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Multiply two vectors, number by number, and add: products and sums have the accumulator's format."""
    accum = format_of(node, "accum_t")
    terms = cast(multiply(*inputs), accum).values
    total = FixedTensor(np.zeros((len(terms), 1), np.int64), accum)
    for i in range(terms.shape[1]):
        total = cast(add(total, FixedTensor(terms[:, [i]], accum)), accum)
    return cast(total, result_format(node))


@register("Concatenate")
def concatenate(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Concatenate two inputs along the node's axis."""
    result, axis = result_format(node), int(node.get_attr("axis"))
    joined = np.concatenate([cast(x, result).values for x in inputs], axis)
    shape = tuple(int(n) for n in node.get_output_variable().shape)
    if math.prod(shape) != math.prod(joined.shape[1:]):
        raise NotModelledError(f"concatenation along axis {axis}")
    return FixedTensor(joined, result)


def _broadcast(a: FixedTensor, b: FixedTensor) -> tuple[FixedTensor, FixedTensor]:
    """Return two inputs in one shape; axes that one of them lacks are the first behind the samples."""
    rank = max(len(a.shape), len(b.shape))
    wide = [x.reshaped(x.shape[0], *(1,) * (rank - len(x.shape)), *x.shape[1:]) for x in (a, b)]
    shape = np.broadcast_shapes(*(x.shape for x in wide))
    first, second = (FixedTensor(np.broadcast_to(x.values, shape), x.format) for x in wide)
    return first, second
