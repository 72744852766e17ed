"""Rounding to a trained number of fractional bits, with the gradients that train it.

A number x is rounded to the grid of f fractional bits, half up: q = ⌊x·2^f + 1/2⌋ / 2^f. Backwards, x has the
gradient of q (a straight-through estimate), and f has ln 2 · (x − q) times it, since the error of rounding
shrinks as 2^−f (Sun et al., "Gradient-based Automatic Mixed Precision Quantization for Neural Networks
On-Chip", 2024, arXiv:2405.00645). A weight that is rounded to zero is **held**: it has no gradient of its
own, only its bits have, and what it was returns when these grow. Without that it would come back at random.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

__all__ = [
    "LEAST_BITS",
    "MOST_BITS",
    "leading_bits",
    "power_of_two",
    "round_held",
    "round_trained",
    "straight_through",
    "whole_bits",
    "with_gradient",
]

LEAST_BITS, MOST_BITS = -16, 16
"""Fractional bits are kept between these."""

_LN2 = math.log(2.0)
_EXPONENTS = 32
_POWERS = np.exp2(np.arange(-_EXPONENTS, _EXPONENTS + 1)).astype("float32")


def power_of_two(exponent: Any) -> Any:
    """Return 2 to whole exponents between −32 and 32, exactly, as no backend's own power does."""
    return ops.take(ops.convert_to_tensor(_POWERS), ops.cast(exponent, "int32") + _EXPONENTS)


def whole_bits(bits: Any) -> Any:
    """Return trained fractional bits as whole numbers, without a gradient."""
    return ops.stop_gradient(ops.round(ops.clip(bits, LEAST_BITS, MOST_BITS)))


def straight_through(value: Any, x: Any, bits: Any) -> Any:
    """Return exactly ``value``, with the gradients of x and of its fractional bits.

    Parameters
    ----------
    value
        What x was rounded to.
    x
        What was rounded; it gets the gradient of the value.
    bits
        Trained fractional bits, of a shape that broadcasts against x.
    """
    value, error = ops.stop_gradient(value), ops.stop_gradient(x - value)
    return with_gradient(value + (x - ops.stop_gradient(x)), bits, _LN2 * error)


def with_gradient(value: Any, bits: Any, derivative: Any) -> Any:
    """Return exactly ``value``, with a derivative by trained bits besides its own."""
    bits = ops.convert_to_tensor(bits)
    return value + (bits - ops.stop_gradient(bits)) * derivative


def round_trained(x: Any, bits: Any) -> Any:
    """Return x rounded half up to trained fractional bits.

    Parameters
    ----------
    x
        Numbers of any shape.
    bits
        Trained fractional bits, of a shape that broadcasts against x.
    """
    scale = power_of_two(whole_bits(bits))
    return straight_through(ops.floor(x * scale + 0.5) / scale, x, bits)


def round_held(weights: Any, bits: Any) -> tuple[Any, Any]:
    """Return weights rounded half up to trained fractional bits, those that are zero held there.

    Parameters
    ----------
    weights
        Weights of any shape.
    bits
        Trained fractional bits, of a shape that broadcasts against the weights.

    Returns
    -------
    rounded
        The rounded weights.
    integers
        Their sizes in units of the last bit, without a gradient.
    """
    scale = power_of_two(whole_bits(bits))
    integers = ops.floor(ops.stop_gradient(weights) * scale + 0.5)
    held = ops.where(integers != 0, weights, ops.stop_gradient(weights))
    return straight_through(integers / scale, held, bits), ops.stop_gradient(ops.abs(integers))


def leading_bits(integers: Any) -> Any:
    """Return the position of the leading one of integers from 0 on: 0 for 0, 1 for 1, 2 for 2 and 3."""
    found = ops.floor(ops.log2(ops.maximum(integers, 1.0)) + 1e-4) + 1.0
    return ops.where(integers > 0, found, ops.zeros_like(found))
