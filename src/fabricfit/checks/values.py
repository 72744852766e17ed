"""Checks of numbers, flags and names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell, unknown_name

__all__ = [
    "flag",
    "fraction",
    "number",
    "numbers",
    "one_of",
    "optional_number",
    "optional_positive_number",
    "optional_whole_number",
    "whole_number",
    "whole_numbers",
]

_MOST = 2**63 - 1
"""The largest whole number that arrays hold."""


def whole_number(
    name: str, value: Any, least: int = 1, *, most: int | None = None, texts: bool = False
) -> int:
    """Return a whole number as an int.

    Parameters
    ----------
    name
        What the value is called, for the message.
    value
        A number of any type; ``2.0`` is whole, ``True`` is no number.
    least, most
        The smallest and the largest that are allowed; by default what an array can hold.
    texts
        Whether a text of digits is a number too, as in files that people write.

    Raises
    ------
    InvalidInputError
        It is no whole number, too small, or too large.
    """
    found = _as_integer(value, texts)
    if found is None or not least <= found <= (_MOST if most is None else most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        if found is not None and most is None and found > _MOST:
            allowed += ", below 2**63"
        raise InvalidInputError(
            f"{name} must be a whole number {allowed}. Received: {name}={spell(value)}"
        )
    return found


def optional_whole_number(name: str, value: Any, least: int = 1) -> int | None:
    """Return a whole number as an int, and ``None`` as it is; otherwise as :func:`whole_number`."""
    return None if value is None else whole_number(name, value, least)


def whole_numbers(name: str, values: Any, least: int = 1) -> tuple[int, ...]:
    """Return several whole numbers, at least one, as a tuple of ints.

    Raises
    ------
    InvalidInputError
        They are no sequence of whole numbers, there is none, or one is too small.
    """
    read = [_as_integer(value, texts=False) for value in _elements(values)]
    found = tuple(each for each in read if each is not None and least <= each <= _MOST)
    if not found or len(found) != len(read):
        raise InvalidInputError(
            f"{name} must hold whole numbers of at least {least}. Received: {name}={spell(values)}"
        )
    return found


def number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    infinite: bool = False,
) -> float:
    """Return a number as a float.

    Parameters
    ----------
    name
        What the value is called, for the message.
    value
        A number of any type; neither a text nor ``True`` is one.
    least, above, most, below
        Its bounds, inclusive and exclusive.
    infinite
        Whether ``inf`` is a number.

    Raises
    ------
    InvalidInputError
        It is no number, or out of range.
    """
    found = _as_float(value)
    infinite = infinite and isinstance(value, float | np.floating)
    fits = (
        (infinite or math.isfinite(found))
        and (least is None or found >= least)
        and (above is None or found > above)
        and (most is None or found <= most)
        and (below is None or found < below)
    )
    if math.isnan(found) or not fits:
        allowed = _spell_range(least, above, most, below)
        finite = ", and finite" if math.isinf(found) and not infinite else ""
        raise InvalidInputError(
            f"{name} must be a number{allowed}{finite}. Received: {name}={spell(value)}"
        )
    return found


def optional_number(name: str, value: Any, **bounds: Any) -> float | None:
    """Return a number as a float, and ``None`` as it is; otherwise as :func:`number`."""
    return None if value is None else number(name, value, **bounds)


def optional_positive_number(name: str, value: Any) -> float | None:
    """Return a finite number above 0 as a float, and ``None`` as it is; otherwise as :func:`number`."""
    return optional_number(name, value, above=0)


def numbers(name: str, values: Any, **bounds: Any) -> list[float]:
    """Return several numbers, at least one, as floats; each of them is checked as by :func:`number`.

    Raises
    ------
    InvalidInputError
        They are no sequence, there is none, or one is no number or out of range.
    """
    elements = _elements(values)
    if not elements:
        raise InvalidInputError(
            f"{name} must hold at least one number. Received: {name}={spell(values)}"
        )
    return [number(f"{name}[{place}]", each, **bounds) for place, each in enumerate(elements)]


def fraction(name: str, value: Any) -> float:
    """Return a number from 0 to below 1 as a float.

    Raises
    ------
    InvalidInputError
        It is no number, or out of range.
    """
    found = _as_float(value)
    if not 0 <= found < 1:
        raise InvalidInputError(
            f"{name} must be from 0 to below 1. Received: {name}={spell(value)}"
        )
    return found


def flag(name: str, value: Any) -> bool:
    """Return ``True`` or ``False``; ``'no'``, 0 and None are neither.

    Raises
    ------
    InvalidTypeError
        It is no truth value of Python or NumPy.
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidTypeError(f"{name} must be True or False. Received: {name}={spell(value)}")
    return bool(value)


def one_of(name: str, value: Any, known: Iterable[Any]) -> Any:
    """Return one of several names, or None where that is among them.

    Raises
    ------
    InvalidInputError
        It is none of them; the message suggests the nearest.
    """
    known = tuple(known)
    if value is None and None in known:
        return None
    if not isinstance(value, str) or value not in known:
        raise unknown_name(name, value, known)
    return str(value)


def _elements(values: Any) -> list[Any]:
    """Return what a sequence holds; nothing for what is none, texts and bytes among them."""
    if isinstance(values, str | bytes | bytearray | Mapping):
        return []
    try:
        return list(values)
    except Exception:  # of an iterable of the caller's own, whatever it raises
        return []


def _spell_range(
    least: float | None, above: float | None, most: float | None, below: float | None
) -> str:
    """Return the bounds of a number as words behind it."""
    start = f"above {above:g}" if above is not None else None
    end = f"below {below:g}" if below is not None else None
    if least is not None:
        if end is None and most is None:
            return f" of at least {least:g}"
        return f" from {least:g} to {end or f'{most:g}'}"
    if most is not None:
        end = f"at most {most:g}"
    found = " and ".join(part for part in (start, end) if part)
    return f" {found}" if found else ""


def _as_float(value: Any) -> float:
    """Return a number as a float, inf for one beyond floats, and NaN for anything else."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if bool(value > 0) else -math.inf  # type: ignore[operator]
    except Exception:  # of a number of the caller's own class, whatever it raises
        return math.nan


def _as_integer(value: Any, texts: bool) -> int | None:
    """Return a whole number as an int, and None for anything else."""
    if isinstance(value, str) and texts:
        value = _read_digits(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return None
    try:
        found = int(value)  # type: ignore[call-overload]  # every real number that is asked
        return found if found == value else None
    except (OverflowError, TypeError, ValueError):
        return None


def _read_digits(value: str) -> float | int | None:
    """Return the number that a text of digits, as in ``'4'`` or ``'4.0'``, stands for."""
    if not value.isascii() or len(value) > 30 or "_" in value:
        return None
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            return None
