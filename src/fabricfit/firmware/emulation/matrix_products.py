"""Dense layers and convolutions: every product cast to the accumulator before it is added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fabricfit.description.strategies import SHARED_MULTIPLIERS
from fabricfit.firmware.emulation.fixed import (
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    product_format,
    shift_right,
)
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.firmware.emulation.wire_sums import add_products, multiply_matrix
from fabricfit.firmware.emulation.wires import Wires

__all__ = [
    "accumulate",
    "addition_order",
    "cut_patches",
    "refuse_ternary",
    "require_channels_last",
    "same_padding",
    "sum_exactly",
    "windows",
]

_IN_CACHE = 1 << 15
"""Products of one input that are in memory at once."""

_NARROW = 31
"""Bits of a number, without its sign, that 32-bit integers hold."""

_BLOCK = 1 << 22
"""Largest number of values of a convolution's windows in memory at once."""


@register("Dense", "Conv1D", "Conv2D", "PointwiseConv1D", "PointwiseConv2D")
def product(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a Dense layer (on the last axis) or a convolution."""
    kernel, given = weights.kernel(node), weights.inputs(node, inputs[0])
    adders = node.get_attr("strategy") == "distributed_arithmetic"
    if not adders:
        refuse_ternary(node)
    patches = given
    if len(kernel.shape) > 2 and not weights.multiplies_results(node):
        patches = cut_patches(given, kernel.shape[:-2], weights.layer(node))
    n_in, n_out = math.prod(kernel.shape[:-1]), kernel.shape[-1]
    matrix, bias = kernel.reshaped(n_in, n_out), weights.bias(node)
    flat = patches.reshaped(-1, n_in)
    if adders:
        total = add(sum_exactly(flat, matrix), bias)
    else:
        order = addition_order(n_in, int(node.get_attr("reuse_factor")), node.get_attr("strategy"))
        total = accumulate(flat, matrix, bias, format_of(node, "accum_t"), order)
    return cast(total.reshaped(*patches.shape[:-1], n_out), result_format(node))


def cut_patches(given: FixedTensor, size: Sequence[int], layer: Any) -> FixedTensor:
    """Cut a convolution's inputs into the windows of its kernel, as :func:`windows` does.

    Parameters
    ----------
    given
        Inputs, which hls4ml may have padded in a layer of their own.
    size
        Positions of the kernel along each axis.
    layer
        The Keras layer.
    """
    if set(np.atleast_1d(layer.dilation_rate)) != {1} or getattr(layer, "groups", 1) != 1:
        raise NotModelledError("convolutions with dilation or groups")
    require_channels_last(layer)
    already = tuple(given.shape[1:-1]) != tuple(layer.input.shape[1:-1])
    padding = "valid" if already else layer.padding
    return FixedTensor(windows(given.values, size, layer.strides, padding), given.format)


def refuse_ternary(node: Any) -> None:
    """Refuse weights that hls4ml does not multiply by but compares."""
    precision = node.get_weights("weight").type.precision
    integers = type(precision).__name__ == "IntegerPrecisionType"
    if integers and (precision.width, precision.signed) == (2, True):
        raise NotModelledError("two-bit integer weights, which hls4ml treats as ternary")


def sum_exactly(inputs: FixedTensor, matrix: FixedTensor) -> FixedTensor:
    """Multiply and add without rounding, as adder graphs of distributed arithmetic do."""
    wide = product_format(inputs.format, matrix.format)
    growth = (inputs.shape[1] - 1).bit_length()
    sums = Format(wide.width + growth, wide.integer + growth, wide.signed)
    return FixedTensor(_multiply_integers(inputs.values, matrix.values), sums)


def require_channels_last(layer: Any) -> None:
    """Refuse a layer that has its channels before the positions."""
    if layer.data_format != "channels_last":
        raise NotModelledError(f"layers of the data format {layer.data_format!r}")


def accumulate(
    inputs: FixedTensor,
    matrix: FixedTensor,
    bias: FixedTensor,
    accum: Format,
    order: Sequence[int],
) -> FixedTensor:
    """Multiply a matrix from the right and add, in the accumulator's format.

    As in ``nnet_dense_latency.h`` and ``nnet_dense_resource.h``: the sum starts with the bias cast to
    the accumulator, each product is cast to it, and so is each sum. The order matters to an
    accumulator that saturates, and then only if it does.

    Parameters
    ----------
    inputs
        Shape ``(rows, n_in)``.
    matrix
        Shape ``(n_in, n_out)``.
    bias
        Shape ``(n_out,)``, or ``(rows, n_out)`` where it is another one for each row.
    accum
        Format of the sums.
    order
        The inputs' numbers in the order in which their products are added.
    """
    start, size = cast(bias, accum), max(1, _BLOCK // inputs.shape[1])
    if isinstance(inputs.values, Wires):
        shift = accum.fractional - product_format(inputs.format, matrix.format).fractional
        modes = accum.width, accum.signed, accum.rounding, accum.saturation
        sums = add_products(inputs.values, matrix.values, start.values, shift, modes, order)
        return FixedTensor(sums, accum)
    parts = [
        _accumulate_block(
            FixedTensor(inputs.values[first : first + size], inputs.format),
            matrix,
            start
            if start.values.ndim == 1
            else FixedTensor(start.values[first : first + size], accum),
            accum,
            order,
        )
        for first in range(0, max(inputs.shape[0], 1), size)
    ]
    return FixedTensor(np.concatenate(parts), accum)


def _accumulate_block(
    inputs: FixedTensor,
    matrix: FixedTensor,
    start: FixedTensor,
    accum: Format,
    order: Sequence[int],
) -> np.ndarray:
    wide = product_format(inputs.format, matrix.format)
    up = accum.fractional - wide.fractional
    if up >= 0 and (accum.saturation == "WRAP" or _never_overflows(inputs, matrix, start, up)):
        # int64 wraps too, so that only the last conversion counts.
        total = (_multiply_integers(inputs.values, matrix.values) << min(up, 63)) + start.values
        return _wrap(total, accum)
    if accum.saturation == "WRAP":  # sums may wrap at the end, and in any order
        return _wrap(_add_shifted(inputs, matrix, start, accum), accum)
    total = np.broadcast_to(start.values, (inputs.shape[0], matrix.shape[1]))
    for i in order:
        one = FixedTensor(inputs.values[:, i, None] * matrix.values[i], wide)
        total = cast(add(FixedTensor(total, accum), cast(one, accum)), accum).values
    return total


def _add_shifted(
    inputs: FixedTensor, matrix: FixedTensor, start: FixedTensor, accum: Format
) -> np.ndarray:
    """Add products that each lose their last bits, modulo a power of two that the accumulator divides."""
    wide = product_format(inputs.format, matrix.format)
    drop = wide.fractional - accum.fractional
    largest = np.abs(inputs.values).max(initial=0) * np.abs(matrix.values).max(initial=0)
    narrow = max(int(largest).bit_length(), accum.width - 1, drop) <= _NARROW
    kind = np.int32 if narrow else np.int64
    weights, rows = matrix.values.astype(kind), len(inputs.values)
    total = np.empty((weights.shape[1], rows), kind)
    total[:] = np.broadcast_to(start.values, (rows, weights.shape[1])).T
    size = max(1, _IN_CACHE // weights.shape[1])
    for first in range(0, rows, size):
        part = slice(first, first + size)
        sums, columns = total[:, part], inputs.values[part].T.astype(kind)
        for column, row in zip(columns, weights, strict=True):
            if row.any():
                sums += shift_right(row[:, None] * column, min(drop, 63), accum.rounding)
    return total.T.astype(np.int64)


def addition_order(n_in: int, reuse_factor: int, strategy: str) -> list[int]:
    """Return the order in which the products of one output are added.

    Latency adds the products in the order of the inputs. Resource with RF below ``n_in`` adds in cycle ``c``
    the inputs ``c, c + RF, c + 2·RF…``; with larger RF there is one product of an output a cycle.
    """
    if strategy not in SHARED_MULTIPLIERS or reuse_factor >= n_in:
        return list(range(n_in))
    return [i for cycle in range(reuse_factor) for i in range(cycle, n_in, reuse_factor)]


def windows(
    values: np.ndarray, size: Sequence[int], strides: Sequence[int], padding: str, fill: int = 0
) -> np.ndarray:
    """Cut an image or sequence into the windows that a kernel sees.

    Parameters
    ----------
    values
        Shape ``(samples, *positions, channels)``.
    size, strides
        Size and strides of the window, one number for each axis of positions.
    padding
        ``'valid'`` or ``'same'``, as Keras means them.
    fill
        Value outside the edge.

    Returns
    -------
    array of shape ``(samples, *windows, prod(size) * channels)``
        Channels change fastest.
    """
    if padding not in ("valid", "same"):
        raise NotModelledError(f"padding {padding!r}")
    axes = tuple(range(1, len(size) + 1))
    if padding == "same":
        lengths = [values.shape[axis] for axis in axes]
        edges = [same_padding(*each) for each in zip(lengths, size, strides, strict=True)]
        values = np.pad(values, [(0, 0), *edges, (0, 0)], constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(values, tuple(size), axes)
    view = view[(slice(None), *(slice(None, None, step) for step in strides))]
    view = np.moveaxis(view, len(size) + 1, -1)  # channels behind the window
    return view.reshape(*view.shape[: len(size) + 1], -1)


def same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return what Keras' ``'same'`` adds before and behind an axis."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def _never_overflows(inputs: FixedTensor, matrix: FixedTensor, start: FixedTensor, up: int) -> bool:
    most = np.abs(inputs.values).astype(float) @ np.abs(matrix.values).astype(float)
    return bool(most.max(initial=0) * 2.0**up + np.abs(start.values).max() < start.format.limits[1])


def _multiply_integers(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply whole numbers modulo 2**64, by floats where those are exact."""
    if isinstance(a, Wires):
        return multiply_matrix(a, b)
    bound = float(np.abs(a).max(initial=0)) * float(np.abs(b).sum(axis=0).max(initial=0))
    if bound < 2.0**53:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return a @ b


def _wrap(values: np.ndarray, accum: Format) -> np.ndarray:
    wrapping = Format(accum.width, accum.integer, accum.signed)
    return cast(FixedTensor(values, wrapping), wrapping).values
