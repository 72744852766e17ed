"""Plain data of a report, written and read back with each value checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

__all__ = [
    "read_amounts",
    "read_count",
    "read_error",
    "read_errors",
    "read_flag",
    "read_mapping",
    "read_number",
    "read_strengths",
    "read_text",
    "read_texts",
    "require_list",
    "to_plain",
]

_LARGEST = 1e30
"""Nothing that a report counts or measures is beyond it, and no figure can be drawn of it."""


def read_number(value: Any) -> float:
    """Return a number; NaN for None, which :func:`to_plain` writes for it."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"a number was expected. Received: {value!r}")
    if value is None or value != value:
        return math.nan
    if not -_LARGEST <= value <= _LARGEST:
        raise ValueError(
            f"a number from {-_LARGEST:g} to {_LARGEST:g} was expected. Received: {value!r}"
        )
    return value


def read_count(value: Any) -> int:
    """Return a whole number of at least 0."""
    number = read_number(value)
    if number != number or number < 0 or number != int(number):
        raise ValueError(f"a whole number of at least 0 was expected. Received: {value!r}")
    return int(number)


def read_error(value: Any) -> float:
    """Return a standard error, which is not negative; NaN where it is not known."""
    number = read_number(value)
    if number < 0:
        raise ValueError(f"a standard error of at least 0 was expected. Received: {value!r}")
    return number


def read_flag(value: Any) -> bool:
    """Return whether something is so."""
    if not isinstance(value, bool):
        raise TypeError(f"true or false was expected. Received: {value!r}")
    return value


def read_mapping(value: Any) -> Mapping[str, Any]:
    """Return values by name."""
    if not isinstance(value, Mapping):
        raise TypeError(f"values by name were expected. Received: {value!r}")
    return value


def read_text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError(f"a text was expected. Received: {value!r}")
    return value


def read_texts(values: Any) -> tuple[str, ...]:
    """Return several texts."""
    return tuple(read_text(each) for each in require_list(values))


def read_amounts(values: Any) -> tuple[float, ...]:
    """Return several numbers."""
    return tuple(read_number(each) for each in require_list(values))


def read_errors(values: Any) -> tuple[float, ...]:
    """Return the standard errors of a metric before and after, or none."""
    found = tuple(read_error(each) for each in require_list(values))
    if len(found) not in (0, 2):
        raise TypeError(f"two numbers were expected, or none. Received: {values!r}")
    return found


def require_list(values: Any) -> list[Any]:
    """Return a list if it is one."""
    if not isinstance(values, list):
        raise TypeError(f"a list was expected. Received: {values!r}")
    return values


def read_strengths(values: Any) -> dict[str, tuple[float, float]]:
    """Return regularization strengths from plain data: layer -> those of the norms and of the variances.

    Raises
    ------
    TypeError
        A name is no text, or a strength no number.
    """
    return {
        read_text(name): (read_number(pair[0]), read_number(pair[1]))
        for name, pair in dict(values).items()
    }


def to_plain(value: Any) -> Any:
    """Return plain numbers, texts, lists and dictionaries; NaN becomes None, a member its value."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
