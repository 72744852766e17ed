"""Heaps of HDF5, in which texts of attributes lie: the library follows a damaged one without end."""

from __future__ import annotations

import mmap
from pathlib import Path

from fabricfit.errors import InvalidInputError

__all__ = ["check_heaps"]

_SIGNATURE = b"GCOL\x01"
_HEADER = 16
"""Bytes in front of the first object of a heap, and of each object; numbers of objects count from 1."""


def check_heaps(content: bytes | Path, source: Path | str) -> None:
    """Refuse a file whose heaps are not filled by their objects, one behind the other.

    Parameters
    ----------
    content
        The file, or what is in it.
    source
        What it is called in messages.

    Raises
    ------
    InvalidInputError
        There is such a heap.
    """
    if isinstance(content, bytes):
        _check(content, source)
    elif content.stat().st_size:
        with (
            content.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
        ):
            _check(held, source)


def _check(content: bytes | mmap.mmap, source: Path | str) -> None:
    place = content.find(_SIGNATURE)
    while place >= 0:
        size = int.from_bytes(content[place + 8 : place + _HEADER], "little")
        if not _is_filled(content, place + _HEADER, place + size):
            raise InvalidInputError(
                f"{source} cannot be read as HDF5: the heap at {place:,} is damaged"
            )
        place = content.find(_SIGNATURE, place + len(_SIGNATURE))


def _is_filled(content: bytes | mmap.mmap, place: int, end: int) -> bool:
    """Whether objects fill a heap up to its end, the last of which may be what is free."""
    if end > len(content):
        return False
    while end - place >= _HEADER:
        number = int.from_bytes(content[place : place + 2], "little")
        size = int.from_bytes(content[place + 8 : place + _HEADER], "little")
        needed = _HEADER + -(-size // 8) * 8 if number else size
        if needed < _HEADER or place + needed > end:
            return False
        place += needed
    return True
