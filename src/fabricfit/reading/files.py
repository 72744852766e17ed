"""Files that others wrote: only regular ones, up to a size."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from fabricfit.errors import InvalidInputError

__all__ = [
    "ARCHITECTURE",
    "CONFIGURATION",
    "LARGE_CONFIGURATION",
    "RECORD",
    "is_there",
    "read_bytes",
    "read_text",
    "require_regular",
]

CONFIGURATION = 512 * 2**10
"""Bytes of what people write, such as the configuration of a run, at most."""

LARGE_CONFIGURATION = 16 * 2**20
"""Bytes of a configuration of hls4ml, which may name each layer of a model, at most."""

ARCHITECTURE = 64 * 2**20
"""Bytes of the architecture of a model, at most."""

RECORD = 512 * 2**20
"""Bytes of what a run writes of itself, at most."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def is_there(path: Path) -> bool:
    """Whether there is a file, a folder or anything else of that name.

    Raises
    ------
    InvalidInputError
        It cannot be told: the name is none, too long, or in a folder that is closed to the process.
    """
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _ABSENT:
            return False
        raise InvalidInputError(f"{_shorten(path)} cannot be read: {_say(error)}") from error
    return True


def require_regular(path: Path) -> int:
    """Return the size of a file, which must be a regular one: reading others may never end.

    Raises
    ------
    InvalidInputError
        It is not there, or is a folder, a pipe or a device.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{_shorten(path)} cannot be read: {_say(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = next((each for is_kind, each in _KINDS if is_kind(found.st_mode)), "something else")
        raise InvalidInputError(f"{path} must be a file. It is {kind}.")
    return found.st_size


def read_bytes(path: Path, most: int) -> bytes:
    """Return the contents of a regular file.

    Parameters
    ----------
    path
        The file.
    most
        Bytes that it may have.

    Raises
    ------
    InvalidInputError
        It cannot be read, is not a regular file, or is larger.
    """
    size = require_regular(path)
    try:
        with path.open("rb") as file:
            # The size that the system tells of some files, such as those of processes, is 0.
            found = file.read(most + 1) if size <= most else b""
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {_say(error)}") from error
    if max(size, len(found)) > most:
        raise InvalidInputError(
            f"{path} must have at most {most:,} bytes to be read. It has {max(size, len(found)):,}."
        )
    return found


def read_text(path: Path, most: int) -> str:
    """Return the text in a regular file, in UTF-8, with or without a mark of it at the beginning.

    Parameters
    ----------
    path, most
        As for :func:`read_bytes`.

    Raises
    ------
    InvalidInputError
        It cannot be read, is larger, or is no text.
    """
    found = read_bytes(path, most)
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(
            f"{path}, line {line}: not text in UTF-8: {error.reason}"
        ) from error


def _say(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _shorten(path: Path) -> str:
    """Return a path that is not there as messages show it, even if it is no path at all."""
    text = str(path)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text):,} characters)"
