"""Zip archives that others wrote: what is in them is checked before it is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.reading.files import require_regular

__all__ = ["check_archive", "check_member", "open_archive", "read_member"]

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_LARGEST_EXPANSION, _NEVER_SUSPECT = 100, 2**28
"""What an archive may grow to: so many times its size, or so many bytes, if that is more."""


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive inside the block.

    Raises
    ------
    InvalidInputError
        It is none, or damaged, also where that is noticed inside the block.
    """
    require_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FabricFitError:
        raise
    except Exception as error:  # whatever a damaged archive provokes
        raise InvalidInputError(f"{path} cannot be read as an archive: {error}") from error


def check_archive(archive: zipfile.ZipFile, source: Path | str) -> None:
    """Refuse an archive that would grow beyond measure, or in which a name is there twice.

    Parameters
    ----------
    archive
        The archive.
    source
        What it is called in messages.

    Raises
    ------
    InvalidInputError
        It is one; or a part is encrypted, or compressed in a way that is not known.
    """
    members = archive.infolist()
    names: set[str] = set()
    for each in members:
        if each.filename in names:
            raise InvalidInputError(f"{source} holds {each.filename[:200]!r} twice.")
        names.add(each.filename)
        check_member(each, source)
    packed = sum(each.compress_size for each in members)
    if packed > (size := _size_of(archive)):
        raise InvalidInputError(
            f"{source} says that its parts have {packed:,} bytes, and has {size:,}."
        )
    whole = sum(each.file_size for each in members)
    if whole > max(_NEVER_SUSPECT, _LARGEST_EXPANSION * packed):
        raise InvalidInputError(
            f"{source} would grow from {packed:,} to {whole:,} bytes, which no model does."
        )


def _size_of(archive: zipfile.ZipFile) -> int:
    file = archive.fp
    assert file is not None  # it is open
    place = file.tell()
    size = file.seek(0, 2)
    file.seek(place)
    return size


def check_member(member: zipfile.ZipInfo, source: Path | str) -> None:
    """Refuse a part of an archive that is encrypted, or compressed in a way that is not known."""
    if member.flag_bits & _ENCRYPTED:
        raise InvalidInputError(
            f"{source}: {member.filename[:200]!r} is encrypted. Write the file without a password."
        )
    if member.compress_type not in _METHODS:
        raise InvalidInputError(
            f"{source}: {member.filename[:200]!r} must be stored or deflated. Received: method "
            f"{member.compress_type}"
        )


def read_member(
    archive: zipfile.ZipFile, name: str, source: Path | str, most: int | None = None
) -> bytes:
    """Return a part of an archive.

    Parameters
    ----------
    archive, source
        As for :func:`check_archive`.
    name
        Of the part.
    most
        Bytes that it may have; by default as many as :func:`check_archive` lets all parts have.

    Raises
    ------
    InvalidInputError
        It is not there, larger, or damaged.
    """
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise InvalidInputError(f"{source} holds no {name!r}.") from None
    check_member(member, source)
    if most is None:
        most = max(_NEVER_SUSPECT, _LARGEST_EXPANSION * member.compress_size)
    if member.file_size > most:
        raise InvalidInputError(
            f"{source}: {name} would grow from {member.compress_size:,} to {member.file_size:,} bytes, and "
            f"at most {most:,} are read."
        )
    try:
        return archive.read(member)
    except Exception as error:  # whatever a damaged archive provokes
        raise InvalidInputError(f"{source}: {name} cannot be read: {error}") from error
