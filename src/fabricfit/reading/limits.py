"""How deep and how large values in texts may be."""

from __future__ import annotations

from typing import Any

from fabricfit.errors import InvalidInputError

__all__ = ["DEPTH", "DIGITS", "VALUES", "check_values", "refuse"]

DEPTH = 100
"""Lists and mappings inside each other, at most."""

VALUES = 300_000
"""Values in a YAML text at most, those that aliases stand for counted each time."""

DIGITS = 300
"""Digits of an integer, at most: a larger one is no floating-point number."""

_LARGEST = 10**DIGITS


def refuse(name: str, kind: str, problem: str, line: int | None = None) -> InvalidInputError:
    """Build the error for a text that is not read.

    Parameters
    ----------
    name
        What the text is called.
    kind
        The format.
    problem
        What is wrong.
    line
        Where, from 1 on, if that is known.
    """
    where = name if line is None else f"{name}, line {line}"
    return InvalidInputError(f"{where}: not valid {kind}: {problem}")


def check_values(values: Any, name: str, kind: str) -> None:
    """Refuse values that are too deep, integers without end, and texts that no file can hold.

    Parameters
    ----------
    values
        What was read.
    name, kind
        As for :func:`refuse`.

    Raises
    ------
    InvalidInputError
        There is one.
    """
    waiting, seen = [(values, 1)], set()
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list | tuple | set):
            if not value or id(value) in seen:  # what several aliases stand for
                continue
            if depth > DEPTH:
                raise refuse(name, kind, f"lists and mappings are more than {DEPTH} deep")
            seen.add(id(value))
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            waiting.extend((each, depth + 1) for each in inner)
        elif isinstance(value, str):
            if not value.isascii() and not _is_whole(value):
                raise refuse(name, kind, "a text holds half of a character (a lone surrogate)")
        elif isinstance(value, int) and not -_LARGEST < value < _LARGEST:
            raise refuse(name, kind, f"an integer has more than {DIGITS} digits")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
