"""Checks of texts, and of names of files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell

__all__ = ["file_path", "text"]

_LONGEST_NAME, _LONGEST_PATH = 255, 4000
"""Bytes of the name of a file, and of a whole path, that file systems take."""


def text(name: str, value: Any, *, empty: bool = False) -> str:
    """Return a text that can be written to a file.

    Parameters
    ----------
    name
        What the value is called, for the message.
    value
        A text; a path is none.
    empty
        Whether ``''`` is allowed.

    Raises
    ------
    InvalidTypeError
        It is no text.
    InvalidInputError
        It is empty, or holds half of a pair of surrogates, or NUL.
    """
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name} must be a text. Received: {name}={spell(value)}")
    if not value.strip() and not empty:
        raise InvalidInputError(f"{name} must not be empty. Received: {name}={spell(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{name} must be a text of whole Unicode characters. Received: {name}={spell(value)}"
        ) from None
    if "\0" in value:
        raise InvalidInputError(f"{name} must not hold NUL. Received: {name}={spell(value)}")
    return str(value)


def file_path(name: str, value: Any) -> Path:
    """Return the path of a file or folder, which need not exist; ``~`` is the user's home.

    Parameters
    ----------
    name
        What the value is called, for the message.
    value
        A text or an object with a path.

    Raises
    ------
    InvalidTypeError
        It is neither.
    InvalidInputError
        No file can be called so: it is empty, too long, or has characters that no name has.
    """
    try:
        given = os.fspath(value)
        if not isinstance(given, str):
            raise TypeError
    except Exception:  # of an object with a path of the caller's own, whatever it raises
        raise InvalidTypeError(
            f"{name} must be the name of a file or folder, or a path. Received: {name}={spell(value)}"
        ) from None
    try:
        encoded = os.fsencode(given)
    except UnicodeEncodeError:
        encoded = b"\0"
    longest = max(map(len, encoded.split(os.fsencode(os.sep))))
    if not given.strip() or b"\0" in encoded:
        raise InvalidInputError(
            f"{name} must be a name that a file or folder can have. Received: {name}={spell(given)}"
        )
    if longest > _LONGEST_NAME or len(encoded) > _LONGEST_PATH:
        raise InvalidInputError(
            f"{name} must be of names of at most {_LONGEST_NAME} bytes, and of {_LONGEST_PATH} in all. "
            f"Received: {len(encoded)} bytes, {name}={spell(given)}"
        )
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise InvalidInputError(
            f"{name} must not begin with the home of a user that there is not. "
            f"Received: {name}={spell(given)}"
        ) from None
