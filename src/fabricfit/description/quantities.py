"""Quantities of time and of frequency, as people write them: ``'1us'``, ``'25 ns'``, ``'200MHz'``."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Any

from fabricfit.errors import InvalidInputError, spell

__all__ = ["parse_clock", "parse_time", "spell_time"]

_TIMES = {"ps": 1e-3, "ns": 1.0, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9}
"""Unit of time -> nanoseconds; micro is written with either of Unicode's signs for it, or with a u."""

_FREQUENCIES = {"hz": 1e9, "khz": 1e6, "mhz": 1e3, "ghz": 1.0}
"""Unit of frequency, in small letters -> nanoseconds of the period of one of it."""

_SPELLED = (("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0))

_QUANTITY = re.compile(
    r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([^\W\d_]*)\s*", re.IGNORECASE
)


def parse_time(value: Any, name: str = "time") -> float:
    """Return a time in nanoseconds.

    Parameters
    ----------
    value
        A number of nanoseconds, or a text: a number and one of ps, ns, us (µs), ms and s.
    name
        What the value is called, for the message.

    Raises
    ------
    InvalidInputError
        It is no time above 0.

    Examples
    --------
    >>> parse_time("1 µs"), parse_time("25ns"), parse_time(40)
    (1000.0, 25.0, 40.0)
    """
    number, unit = _split(value)
    found = number * _TIMES.get(unit, math.nan)
    if not 0 < found < math.inf:
        raise InvalidInputError(
            f"{name} must be a time above 0, such as '1us', '25ns' or a number of nanoseconds. "
            f"Received: {name}={spell(value)}"
        )
    return found


def parse_clock(value: Any, name: str = "clock") -> float:
    """Return the period of a clock in nanoseconds.

    Parameters
    ----------
    value
        A frequency as a text, a number and one of Hz, kHz, MHz and GHz; or a period as for
        :func:`parse_time`.
    name
        What the value is called, for the message.

    Raises
    ------
    InvalidInputError
        It is neither, or not above 0.

    Examples
    --------
    >>> parse_clock("200MHz"), parse_clock("0.2 GHz"), parse_clock("5ns"), parse_clock(5)
    (5.0, 5.0, 5.0, 5.0)
    """
    number, unit = _split(value)
    if unit.lower() in _FREQUENCIES:
        found = _FREQUENCIES[unit.lower()] / number if number else math.inf
    else:
        found = number * _TIMES.get(unit, math.nan)
    if not 0 < found < math.inf:
        raise InvalidInputError(
            f"{name} must be a frequency or a period above 0, such as '200MHz', '5ns' or a number of "
            f"nanoseconds. Received: {name}={spell(value)}"
        )
    return found


def spell_time(nanoseconds: float) -> str:
    """Return a time as a text that :func:`parse_time` reads, in the largest unit that it has one of.

    Examples
    --------
    >>> spell_time(1000), spell_time(25), spell_time(5165)
    ('1us', '25ns', '5.165us')
    """
    unit, size = next((each for each in _SPELLED if nanoseconds >= each[1]), _SPELLED[-1])
    return f"{nanoseconds / size:.15g}{unit}"


def _split(value: Any) -> tuple[float, str]:
    """Return the number and the unit of a quantity, ns where there is none; NaN for anything else."""
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value), "ns"
        except OverflowError:
            return math.inf, "ns"
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return (float(found[1]), found[2] or "ns") if found else (math.nan, "")
