"""The numbers of a format that are cheap to multiply by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fabricfit.description.precision import FixedPrecision, dequantize
from fabricfit.hardware.adder_graphs import enclosed_bits
from fabricfit.hardware.product import csd_digits

__all__ = ["constants_of"]

_LISTED = 18
"""Bits up to which all numbers of a format are listed; wider ones are rounded to two digits at most."""

_MEASURES = {"digits": csd_digits, "bits": enclosed_bits}


@lru_cache(maxsize=128)
def constants_of(precision: FixedPrecision, count: int, measure: str = "digits") -> np.ndarray:
    """Return all numbers of a format with so many signed digits, or so many enclosed bits, ascending.

    Parameters
    ----------
    precision
        The format.
    count
        Digits or bits, at least 1.
    measure
        ``'digits'`` of canonical signed digit form, or ``'bits'`` from the first to the last that is set.

    Returns
    -------
    array of float
        Empty where a format of more than 18 bits has too many such numbers to list.
    """
    low = -(2 ** (precision.width - 1)) if precision.signed else 0
    high = 2 ** (precision.width - precision.signed) - 1
    powers = 2 ** np.arange(min(precision.width, 61) + 1, dtype=np.int64)
    found = np.concatenate([powers, -powers])
    if count == 2:
        found = (found[:, None] + found).reshape(-1)
    elif count > 2:
        found = np.arange(low, high + 1) if precision.width <= _LISTED else found[:0]
    found = np.unique(found[(found >= low) & (found <= high)])
    return dequantize(found[_MEASURES[measure](found) == count], precision)
