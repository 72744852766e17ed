"""Integers, and their digits in canonical signed digit form: what a product with a constant is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.errors import InvalidTypeError, quoted_error

__all__ = ["as_integers", "csd_digits"]


def csd_digits(values: Any) -> np.ndarray:
    """Return the number of non-zero digits of integers in canonical signed digit form.

    It is the number of ones in ``x XOR 3x`` (Reitwiesner, 1960): 1 for ±2^k, 2 for ±2^j ± 2^k.

    Parameters
    ----------
    values
        Integers of any shape, each below 2^61 in size.

    Returns
    -------
    array of int, in the shape of ``values``

    Raises
    ------
    InvalidTypeError
        The values are not integers.
    """
    sizes = np.abs(as_integers(values).astype(np.int64))
    return _count_ones(sizes ^ (3 * sizes))


def _count_ones(numbers: np.ndarray) -> np.ndarray:
    """Return how many bits are set in each number: added in pairs, in fours, then in bytes."""
    pairs = numbers - ((numbers >> 1) & 0x5555555555555555)
    fours = (pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333)
    ones = (fours + (fours >> 4)) & 0x0F0F0F0F0F0F0F0F
    for shift in (8, 16, 32):
        ones = ones + (ones >> shift)
    return ones & 0x7F


def as_integers(values: Any) -> np.ndarray:
    """Return quantized weights as int64.

    Raises
    ------
    InvalidTypeError
        They are not integers.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # of several kinds, by what NumPy finds in there
        raise InvalidTypeError(
            f"quantized weights must be an array of integers: {quoted_error(error)}"
        ) from None
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidTypeError(
            "quantized weights must be integers, in units of their last bit. "
            f"Received: an array of {array.dtype}"
        )
    return array.astype(np.int64)
