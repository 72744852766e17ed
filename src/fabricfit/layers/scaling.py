"""Kernels and biases that take up a factor and an offset of each unit before or behind them, exactly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.description.layout import Layout
from fabricfit.layers.product import why_kernel_is_rewritten
from fabricfit.layers.units import Replacement, to_numpy

__all__ = ["channel_axis", "is_linear", "meets_border", "scale_columns", "scale_rows", "with_bias"]


def is_linear(layer: Any) -> bool:
    """Return whether a layer ends in its product and bias, with weights that are those it multiplies by."""
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    return linear and why_kernel_is_rewritten(layer, "") is None


def channel_axis(layer: Any) -> int:
    """Return the axis of a layer's inputs and results that units or channels are on, from the end."""
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return -1 - len(layer.kernel_size)
    return -1


def meets_border(layer: Any) -> bool:
    """Return whether at the border of its input a layer sums over fewer numbers than inside."""
    windows = getattr(layer, "kernel_size", ())
    return getattr(layer, "padding", "valid") != "valid" and any(size > 1 for size in windows)


def scale_columns(
    layer: Any, layout: Layout, axis: int, scale: np.ndarray, offset: np.ndarray
) -> Replacement | None:
    """Return a layer of one kernel with its results multiplied and shifted; None where it cannot be.

    Parameters
    ----------
    layer
        The layer; its results are on the only column axis of the kernel.
    layout
        That of the kernel.
    axis
        The axis of the results that the numbers are for, from the end.
    scale, offset
        For each unit.
    """
    if axis != channel_axis(layer) or not is_linear(layer):
        return None
    kernel = to_numpy(layer.kernel)
    scaled = kernel * _along(scale, layout.columns[0], kernel.ndim)
    bias = to_numpy(layer.bias) if layer.bias is not None else 0.0
    return with_bias(layer, [scaled], scale * bias + offset)


def scale_rows(
    layer: Any, layout: Layout, axis: int, scale: np.ndarray, offset: np.ndarray
) -> Replacement | None:
    """Return a layer of one kernel for inputs before they are multiplied and shifted.

    The parameters are those of :func:`scale_columns`; input units are on the last row axis.
    """
    if axis != channel_axis(layer) or why_kernel_is_rewritten(layer, "") is not None:
        return None
    kernel, row = to_numpy(layer.kernel), layout.rows[-1]
    others = tuple(each for each in range(kernel.ndim) if each != layout.columns[0])
    added = (kernel * _along(offset, row, kernel.ndim)).sum(axis=others)
    bias = to_numpy(layer.bias) if layer.bias is not None else 0.0
    return with_bias(layer, [kernel * _along(scale, row, kernel.ndim)], bias + added)


def with_bias(layer: Any, kernels: list[np.ndarray], bias: np.ndarray) -> Replacement:
    """Return a layer with other kernels and another bias, which it gets where it has none and needs one."""
    kernels = [each.astype(old.dtype) for each, old in zip(kernels, layer.weights, strict=False)]
    if layer.bias is None and not bias.any():
        return Replacement(weights=kernels)
    return Replacement({"use_bias": True}, [*kernels, bias.astype(kernels[-1].dtype)])


def _along(numbers: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return numbers shaped to be multiplied along one axis of an array."""
    return numbers.reshape([-1 if each == axis else 1 for each in range(rank)])
