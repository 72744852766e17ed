"""Checkpoint files: arrays and plain values in one file that holds no code.

The file is an ``.npz``; JSON beside its arrays describes how they are nested. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fabricfit.errors import RunDirectoryError
from fabricfit.reading import check_archive, open_archive, parse_json, read_header

__all__ = ["checksum_of", "load_state", "save_state"]

_STRUCTURE = "structure"
_ARRAY, _PAIRS = "__array__", "__pairs__"


def save_state(file: Path | BinaryIO, state: Any) -> None:
    """Write nested dictionaries, lists, numbers, texts and arrays.

    Parameters
    ----------
    file
        The file, whose name ends in ``.npz``, or one that is open for writing.
    state
        What to write. Keys may be texts or whole numbers; tuples come back as lists.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_pack(state, arrays)).encode()
    arrays[_STRUCTURE] = np.frombuffer(structure, np.uint8)
    np.savez(file, allow_pickle=False, **arrays)


def load_state(path: Path, checksum: str | None = None) -> Any:
    """Return what :func:`save_state` wrote.

    Parameters
    ----------
    path
        The file.
    checksum
        What :func:`checksum_of` must say of it, if that is known.

    Raises
    ------
    RunDirectoryError
        The file is missing or damaged.
    """
    try:
        if checksum is not None and checksum_of(path) != checksum:
            raise RunDirectoryError(
                f"{path} is not what the journal says was written: it is damaged."
            )
        with open_archive(path) as archive:
            check_archive(archive, path)
            text = _read_array(archive, _STRUCTURE).tobytes()
            return _unpack(parse_json(text, f"the structure of {path}", finite=False), archive)
    except RunDirectoryError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        raise RunDirectoryError(f"{path} cannot be read: {error}") from error


def checksum_of(path: Path) -> str:
    """Return a checksum of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        # NumPy stores types it does not know, such as bfloat16, as nameless bytes.
        own = value.dtype.kind != "V"
        arrays[name] = value if own else np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return {_ARRAY: name, "dtype": None if own else str(value.dtype), "shape": value.shape}
    if isinstance(value, dict):
        return {_PAIRS: [[key, _pack(each, arrays)] for key, each in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_pack(each, arrays) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return an array, after its size has been compared with what is stored of it."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        read_header(stream, member.file_size, name)
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def _unpack(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_unpack(each, archive) for each in value]
    if isinstance(value, dict) and _ARRAY in value:
        array = _read_array(archive, value[_ARRAY])
        if value["dtype"] is not None:
            import ml_dtypes

            array = array.view(getattr(ml_dtypes, value["dtype"])).reshape(value["shape"])
        return array
    if isinstance(value, dict):
        return {key: _unpack(each, archive) for key, each in value[_PAIRS]}
    return value
