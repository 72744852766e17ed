"""What commands write to standard output, and the check of a file that they are to write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from fabricfit.errors import InvalidInputError
from fabricfit.reading import is_there
from fabricfit.tables import show_lines

__all__ = [
    "VERIFICATION_CODES",
    "check_new_file",
    "print_json",
    "print_text",
    "write_new_json",
    "write_to",
]

VERIFICATION_CODES = {"passed": 0, "not proven": 4, "failed": 5}
"""Outcome of a verification -> exit code."""


def print_json(value: Any) -> None:
    """Print plain data as one JSON object."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def print_text(text: str) -> None:
    """Print a text and end its line; control characters, which names may hold, are written out."""
    write_to(sys.stdout, f"{show_lines(text)}\n")


def write_to(stream: TextIO, text: str) -> None:
    """Write a text as far as the encoding of a stream has its characters, and escapes for the others."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def check_new_file(path: Path, endings: tuple[str, ...]) -> None:
    """Check that a file can be written without overwriting one.

    Raises
    ------
    InvalidInputError
        Its name ends otherwise, it exists, or its folder does not.
    """
    if path.suffix not in endings:
        kind = "an" if endings[0] == ".html" else "a"
        raise InvalidInputError(f"the output must be {kind} {endings[0]} file. Received: {path}")
    if is_there(path):
        raise InvalidInputError(
            f"{path} exists, and is not overwritten. Remove it, or name another output."
        )
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(
            f"the folder {path.absolute().parent} of the output does not exist."
        )


def write_new_json(path: Path, value: Any) -> None:
    """Write plain data to a file that :func:`check_new_file` has checked, complete or not at all."""
    from fabricfit.run.files import write_json

    write_json(path.absolute(), value)
