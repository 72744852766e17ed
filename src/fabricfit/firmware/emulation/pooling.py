"""Max and average pooling, over windows and over all positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError, add, cast
from fabricfit.firmware.emulation.matrix_products import require_channels_last, windows
from fabricfit.firmware.emulation.registry import format_of, is_stream, register, result_format
from fabricfit.firmware.emulation.softmax import tree_reduce
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.firmware.emulation.wires import Wires

__all__ = ["divide"]


@register("Pooling1D", "Pooling2D")
def pooling(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a MaxPooling or AveragePooling layer; with ``'same'``, over the positions inside the edge."""
    x, layer = inputs[0], weights.layer(node)
    require_channels_last(layer)
    size, strides = _as_tuple(layer.pool_size), _as_tuple(layer.strides)
    outside = np.iinfo(np.int64).min
    cut = windows(x.values, size, strides, layer.padding, outside)
    # One window's positions of one channel, last.
    cut = np.moveaxis(cut.reshape(*cut.shape[:-1], math.prod(size), x.shape[-1]), -2, -1)
    if node.get_attr("count_pad", False) and layer.padding == "same" and _is_average(node):
        raise NotModelledError("average pooling that counts its padding")
    return cast(_pool(node, cut, x.format, outside), result_format(node))


@register("GlobalPooling1D", "GlobalPooling2D")
def global_pooling(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a GlobalMaxPooling or GlobalAveragePooling layer."""
    x, accum = inputs[0], format_of(node, "accum_t")
    require_channels_last(weights.layer(node))
    every = np.moveaxis(x.values.reshape(len(x.values), -1, x.shape[-1]), 1, -1)
    if not is_stream(node):
        return cast(_pool(node, every, x.format, None), result_format(node))
    terms = cast(FixedTensor(every, x.format), accum)
    if not _is_average(node):
        return cast(FixedTensor(terms.values.max(axis=-1), accum), result_format(node))
    total = FixedTensor(np.zeros(every.shape[:-1], np.int64), accum)
    for i in range(every.shape[-1]):
        total = cast(add(total, FixedTensor(terms.values[..., i], accum)), accum)
    return cast(divide(total, every.shape[-1]), result_format(node))


def _pool(node: Any, cut: np.ndarray, format: Format, outside: int | None) -> FixedTensor:
    """Reduce the last axis, where ``outside`` marks positions beyond the edge."""
    accum = format_of(node, "accum_t")
    inside = cut != outside if outside is not None else np.ones(cut.shape, bool)
    if not _is_average(node):
        if is_stream(node):
            return FixedTensor(cast(FixedTensor(cut, format), accum).values.max(axis=-1), accum)
        return cast(FixedTensor(cut.max(axis=-1), format), accum)
    terms = [
        FixedTensor(np.where(inside[..., i], cut[..., i], 0), format) for i in range(cut.shape[-1])
    ]
    if is_stream(node):
        held = [cast(term, accum) for term in terms]
        total = tree_reduce(held, lambda a, b: cast(add(a, b), accum))
    else:
        total = FixedTensor(np.zeros(cut.shape[:-1], np.int64), accum)
        for term in terms:
            total = cast(add(total, term), accum)
    return divide(total, inside.sum(axis=-1))


def divide(total: FixedTensor, count: Any) -> FixedTensor:
    """Divide by a whole number, truncating towards zero at the last bit."""
    if isinstance(total.values, Wires):
        return FixedTensor(total.values.divided(count), total.format)
    return FixedTensor(np.sign(total.values) * (np.abs(total.values) // count), total.format)


def _is_average(node: Any) -> bool:
    operation = str(node.get_attr("pool_op"))
    if operation not in ("Max", "Average"):
        raise NotModelledError(f"pooling by {operation}")
    return operation == "Average"


def _as_tuple(size: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in np.atleast_1d(size))
