"""Accumulators and biases: as wide as the sums of a layer can ever need, so that nothing wraps or is lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.calibration.tensors import CalibratedCall
from fabricfit.description.precision import FixedPrecision, dequantize, quantize
from fabricfit.firmware.emulation.fixed import Format
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.units import to_numpy
from fabricfit.precision.formats import TensorFormat

__all__ = ["sum_formats"]


def sum_formats(
    call: CalibratedCall, received: Any, weight: FixedPrecision, stated_bias: FixedPrecision | None
) -> tuple[TensorFormat | None, TensorFormat]:
    """Return the format of a layer's biases, if it has any, and that of its sums.

    Parameters
    ----------
    call
        The call of the layer.
    received
        hls4ml's format of what it receives.
    weight
        The format of its weights.
    stated_bias
        The format of its biases, where that is stated.

    Raises
    ------
    NotModelledError
        What it receives is no fixed-point number.
    """
    kernel = call.kernel
    assert kernel is not None
    given = Format.of(received)
    fractional = given.fractional + weight.fractional
    low, high = _bound_sums(kernel, given, weight)
    bias = kernel.bias
    if bias is None:
        return None, _signed(fractional, low.min(), high.max())
    numbers = to_numpy(bias).ravel()
    finest = fractional if stated_bias is None else max(stated_bias.fractional, fractional)
    rounded = np.ldexp(np.rint(np.ldexp(numbers, finest)), -finest)
    format = _signed(finest, rounded.min(), rounded.max())
    if len(rounded) == len(low):
        low, high = low + rounded, high + rounded
    else:
        low, high = low + rounded.min(), high + rounded.max()
    return format, _signed(finest, low.min(), high.max())


def _bound_sums(
    kernel: Kernel, received: Format, weight: FixedPrecision
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest sum of products of each unit, for any input of a format."""
    weights = dequantize(quantize(to_numpy(kernel.variable), weight), weight)
    axes = kernel.axes
    units = axes.ordered(weights, axes.by_unit, (axes.n_units, -1), np)
    least, largest = (np.ldexp(float(limit), -received.fractional) for limit in received.limits)
    ends = np.stack([units * least, units * largest])
    return np.minimum(ends.min(0).sum(1), 0.0), np.maximum(ends.max(0).sum(1), 0.0)


def _signed(fractional: int, least: float, largest: float) -> TensorFormat:
    if least == largest == 0:
        return TensorFormat(0, 1, True)
    found = TensorFormat.covering(fractional, min(float(least), 0.0), float(largest))
    integer = found.signed_integer
    return TensorFormat(fractional, max(integer, 1 - fractional), True, "RND", "SAT")
