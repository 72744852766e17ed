"""Checks of single values, each written once."""

from __future__ import annotations

from typing import Any

from fabricfit.errors import InvalidInputError

__all__ = [
    "fraction",
    "optional_positive_number",
    "optional_whole_number",
    "whole_number",
    "whole_numbers",
]


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
        The smallest and the largest that are allowed.
    texts
        Whether a text of digits is a number too, as in files that people write.

    Raises
    ------
    InvalidInputError
        It is no whole number, too small, or too large.
    """
    number = _as_integer(value, texts)
    if number is None or number < least or (most is not None and number > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInputError(
            f"{name} must be a whole number {allowed}. Received: {name}={value!r}"
        )
    return number


def optional_whole_number(name: str, value: Any, least: int = 1) -> int | None:
    """Return a whole number as an int, and ``None`` as it is; otherwise as :func:`whole_number`."""
    return None if value is None else whole_number(name, value, least)


def optional_positive_number(name: str, value: Any) -> float | None:
    """Return a finite number above 0 as a float, and ``None`` as it is.

    Raises
    ------
    InvalidInputError
        It is neither.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not 0 < number < float("inf"):
        raise InvalidInputError(f"{name} must be a number above 0. Received: {name}={value!r}")
    return number


def whole_numbers(name: str, values: Any, least: int = 1) -> tuple[int, ...]:
    """Return several whole numbers, at least one, as a tuple of ints.

    Raises
    ------
    InvalidInputError
        They are no sequence of whole numbers, there is none, or one is too small.
    """
    try:
        numbers = [_as_integer(value, texts=False) for value in values]
    except TypeError:
        numbers = []
    found = tuple(number for number in numbers if number is not None and number >= least)
    if not found or len(found) != len(numbers):
        raise InvalidInputError(
            f"{name} must hold whole numbers of at least {least}. Received: {name}={values!r}"
        )
    return found


def fraction(name: str, value: Any) -> float:
    """Return a number from 0 to below 1 as a float.

    Raises
    ------
    InvalidInputError
        It is no number, or out of range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1:
        raise InvalidInputError(f"{name} must be from 0 to below 1. Received: {name}={value!r}")
    return float(value)


def _as_integer(value: Any, texts: bool) -> int | None:
    """Return a whole number as an int, and None for anything else."""
    if isinstance(value, bool) or (isinstance(value, str) and not texts):
        return None
    try:
        number = int(value)
        return number if number == (float(value) if isinstance(value, str) else value) else None
    except (OverflowError, TypeError, ValueError):
        return None
