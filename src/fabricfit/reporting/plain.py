"""Plain data of a report, written and read back with each value checked."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

__all__ = [
    "read_amounts",
    "read_errors",
    "read_number",
    "read_strengths",
    "read_text",
    "read_texts",
    "to_plain",
]


def read_number(value: Any) -> float:
    """Return a number; NaN for None, which :func:`to_plain` writes for it."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"a number was expected. Received: {value!r}")
    return math.nan if value is None else value


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
    found = read_amounts(values)
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
