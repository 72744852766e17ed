"""Numbers brought to fixed-point formats, in every mode of AMD's types ``ap_fixed`` and ``ap_ufixed``.

The modes are those of UG1399, "Arbitrary Precision Fixed-Point Data Types": first a number is rounded to the
last bit of the format, then what is out of range overflows. The estimates, the number formats that are
chosen and the emulation of generated code all use this.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "MAX_BITS",
    "ROUNDINGS",
    "SATURATIONS",
    "find_limits",
    "fit_in_bits",
    "round_up",
    "to_integers",
]

ROUNDINGS = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
"""Rounding modes: down, to zero; to the nearest, ties up, to zero, away from zero, down, to even."""

SATURATIONS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")
"""What numbers out of range become: lower bits; the nearest end; zero; the nearest of symmetric ends."""

MAX_BITS = 62
"""Largest exact bit width: an int64 less a bit for the sign and one for the carry of rounding."""


def to_integers(
    numbers: Any, width: int, fractional: int, signed: bool, rounding: str, overflow: str
) -> np.ndarray:
    """Return real numbers in units of a format's last bit, as the constructor from a double makes them.

    Parameters
    ----------
    numbers
        Of any shape; infinity counts as a number beyond every format.
    width, fractional, signed
        The format: bits in all, bits after the point, whether one is a sign. Numbers beyond 62 bits saturate
        in wider ones.
    rounding, overflow
        One of :data:`ROUNDINGS`, one of :data:`SATURATIONS`.

    Returns
    -------
    array of int64
    """
    scaled = np.ldexp(np.clip(np.asarray(numbers, np.float64), -(2.0**900), 2.0**900), fractional)
    whole = _round(scaled, rounding)
    if overflow == "WRAP" and width <= MAX_BITS:
        whole = np.fmod(whole, 2.0**width)
    integers: np.ndarray = np.clip(whole, -(2.0**MAX_BITS), 2.0**MAX_BITS).astype(np.int64)
    return fit_in_bits(integers, width, signed, overflow)


def _round(scaled: np.ndarray, rounding: str) -> np.ndarray:
    """Return whole numbers, as floats; the sums and comparisons here are exact for all floats."""
    floor: np.ndarray = np.floor(scaled)
    if rounding == "TRN":
        return floor
    middle = floor + 0.5
    fraction = scaled != floor
    half, more = fraction & (scaled >= middle), fraction & (scaled != middle)
    odd = rounding == "RND_CONV" and np.fmod(floor, 2) != 0  # which is slow
    return floor + round_up(rounding, half, more, scaled < 0, odd)


def round_up(rounding: str, half: Any, more: Any, negative: Any, odd: Any) -> Any:
    """Return where numbers are rounded up instead of down.

    Parameters
    ----------
    rounding
        One of :data:`ROUNDINGS`.
    half
        Whether the first bit that is dropped is set.
    more
        Whether any bit behind it is set.
    negative, odd
        Whether the number is negative; whether it is odd when it is rounded down.
    """
    match rounding:
        case "TRN":
            return np.zeros_like(half)
        case "TRN_ZERO":
            return negative & (half | more)
        case "RND":
            return half
        case "RND_ZERO":
            return half & (negative | more)
        case "RND_MIN_INF":
            return half & more
        case "RND_INF":
            return half & (~negative | more)
        case _:  # RND_CONV
            return half & (odd | more)


def find_limits(width: int, signed: bool, overflow: str) -> tuple[int, int]:
    """Return the least and the greatest number of a format, in units of its last bit.

    Parameters
    ----------
    width, signed, overflow
        As for :func:`to_integers`.
    """
    high = (1 << (width - signed)) - 1
    return (-high - (overflow != "SAT_SYM") if signed else 0), high


def fit_in_bits(integers: np.ndarray, width: int, signed: bool, overflow: str) -> np.ndarray:
    """Return what whole numbers become in a format by its overflow mode.

    Parameters
    ----------
    integers
        Of int64, of at most 63 bits.
    width, signed, overflow
        As for :func:`to_integers`.
    """
    if width > MAX_BITS and signed:
        return integers
    low, high = find_limits(min(width, MAX_BITS), signed, overflow)
    match overflow:
        case "WRAP" if signed:
            return (integers << (64 - width)) >> (64 - width)
        case "WRAP" if width <= MAX_BITS:
            return integers & high
        case "SAT_ZERO":
            return np.where((integers < low) | (integers > high), 0, integers)
        case _:
            return np.clip(integers, low, high)
