"""HDF5 files that others wrote: what is in them is checked before it is read; no other file is opened."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError

__all__ = ["check_datasets", "open_dataset"]

_LARGEST_EXPANSION, _NEVER_SUSPECT = 10_000, 2**28
"""What an array may grow to: so many times what is stored of it, or so many bytes, if that is more."""


def open_dataset(group: Any, name: str, source: Path | str) -> Any:
    """Return an array in a group of a file, which is opened and not read.

    Parameters
    ----------
    group
        The group, as h5py opened it.
    name
        The name in it.
    source
        What the file is called in messages.

    Returns
    -------
    h5py.Dataset or h5py.Group

    Raises
    ------
    InvalidInputError
        It is in another file; it is not there; or it says that it is far larger than what is stored of it.
    """
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise InvalidInputError(
            f"{source}: {name!r} is in another file, {link.filename!r}, which is not opened. Name that file, "
            "or copy the array into this one."
        )
    try:
        found = group[name]
    except Exception as error:  # of links that lead nowhere, or to themselves
        raise InvalidInputError(f"{source}: {name!r} cannot be read: {error}") from error
    if isinstance(found, h5py.Dataset):
        _check_storage(found, name, source)
    return found


def _check_storage(found: Any, name: str, source: Path | str) -> None:
    if found.external or found.is_virtual:
        raise InvalidInputError(
            f"{source}: the numbers of {name!r} are in other files, which are not opened. Copy the array "
            "into this file."
        )
    size = math.prod(found.shape or ()) * found.dtype.itemsize
    stored = found.id.get_storage_size()
    if size > max(_NEVER_SUSPECT, _LARGEST_EXPANSION * stored):
        raise InvalidInputError(
            f"{source}: {name!r} says that it is {found.dtype} of shape {found.shape}, {size:,} bytes, "
            f"and {stored:,} are stored of it."
        )


def check_datasets(group: Any, source: Path | str) -> None:
    """Refuse a group with anything that :func:`open_dataset` refuses, however deep it lies.

    Parameters
    ----------
    group, source
        As for :func:`open_dataset`.

    Raises
    ------
    InvalidInputError
        There is something.
    """
    waiting, seen = [("", group)], {_address(group)}
    while waiting:
        path, held = waiting.pop()
        for name in held:
            found = open_dataset(held, name, source)
            if hasattr(found, "keys") and (place := _address(found)) not in seen:
                seen.add(place)
                waiting.append((f"{path}/{name}", found))


def _address(found: Any) -> Any:
    import h5py

    info = h5py.h5o.get_info(found.id)
    return info.fileno, info.addr
