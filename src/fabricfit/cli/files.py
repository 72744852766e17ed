"""Arrays in files of samples: found without being read, then read as a whole or a part at a time."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError, InvalidInputError, require
from fabricfit.reading import (
    ArrayHeader,
    check_member,
    open_dataset,
    read_header,
    require_regular,
)
from fabricfit.samples import Column

__all__ = ["Table", "as_column", "hold_column", "open_arrays"]

_ENDINGS = {".npz": "an .npz", ".h5": "an HDF5", ".hdf5": "an HDF5", ".parquet": "a Parquet"}
_LARGEST_GROUP = 2**32
"""Bytes of a group of rows of a Parquet file, at most, where a file is read in parts."""
_LOCAL_HEADER = 30
"""Bytes in front of the name of a member in a zip archive; the last four are the lengths behind them."""


class _Arrays(Mapping[str, Column]):
    """The arrays in a file, each of which is looked at when it is asked for."""

    def __init__(self, names: list[str], look: Callable[[str], Column]) -> None:
        self._names, self._look = dict.fromkeys(names), look

    def __getitem__(self, name: str) -> Column:
        if name not in self._names:
            raise KeyError(name)
        return self._look(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_arrays(path: Path) -> Mapping[str, Column] | None:
    """Return the arrays in a file or a folder by name; None if it is no file of arrays.

    Arrays that nobody asks for are not looked at: they may be anything.

    Parameters
    ----------
    path
        An ``.npz`` or HDF5 file, or a folder of ``.npy`` files.

    Raises
    ------
    InvalidInputError
        It cannot be read.
    """
    if path.is_dir():
        return _open_folder(path)
    if path.suffix in _ENDINGS:
        require_regular(path)
    if path.suffix == ".npz":
        return _open_npz(path)
    return _open_hdf5(path) if path.suffix in (".h5", ".hdf5") else None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file in what its library raises."""
    try:
        yield
    except FabricFitError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        kind = _ENDINGS.get(path.suffix, "an .npy")
        raise InvalidInputError(f"{path} cannot be read as {kind} file: {error}") from error


def _refuse_repeated(names: list[str], path: Path) -> None:
    name, count = next(iter(Counter(names).most_common(1)), ("", 0))
    if count > 1:
        raise InvalidInputError(f"{path} holds {name[:200]!r} twice.")


class _Numbers(Column):
    """An array as NumPy stores it, uncompressed, at some place of a file.

    Parameters
    ----------
    path
        The file.
    name
        Of the array.
    header
        What is told of it at its beginning.
    offset
        Where its numbers begin; None if they are compressed.
    """

    def __init__(self, path: Path, name: str, header: ArrayHeader, offset: int | None) -> None:
        super().__init__(f"{name} in {path}", header.shape, header.dtype)
        self._path, self._member, self._order, self._offset = path, name, header.order, offset

    @property
    def obstacle(self) -> str:
        """Why parts cannot be read, and the way out; '' where they can."""
        if self._offset is not None:
            return ""
        return (
            f"{self.name} is compressed, so that parts of it cannot be read alone. Write the file with "
            "numpy.savez in the place of savez_compressed, or as HDF5 (compressed, too); or read it as a "
            "whole, with a larger memory_gib (--memory-gib)."
        )

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from ``start`` to before ``stop``, read in their place."""
        numbers = int(np.prod(self.shape[1:], dtype=np.int64))
        whole_samples = self._order == "C"
        size, pieces = (numbers, 1) if whole_samples else (1, numbers)
        with _reading(self._path), self._path.open("rb") as file:
            parts = []
            for piece in range(pieces):
                file.seek(
                    (self._offset or 0) + (piece * len(self) + start) * size * self.dtype.itemsize
                )
                parts.append(np.fromfile(file, self.dtype, (stop - start) * size))
            shape = (stop - start, *self.shape[1:])
            return np.concatenate(parts).reshape(shape, order=self._order)

    def whole(self) -> np.ndarray:
        """Return the whole array, in an archive by its checksum."""
        with _reading(self._path):
            held = np.load(self._path, allow_pickle=False)
            if not hasattr(held, "files"):
                return np.asarray(held)
            with held:
                return np.asarray(held[self._member])


def _open_npz(path: Path) -> _Arrays:
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = [each.filename.removesuffix(".npy") for each in archive.infolist()]
    _refuse_repeated(names, path)
    return _Arrays(names, lambda name: _look_into_npz(path, name))


def _look_into_npz(path: Path, name: str) -> Column:
    """Return an array in an archive, whose header is read."""
    with _reading(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        inside = f"{name}.npy"
        member = archive.getinfo(inside if inside in archive.NameToInfo else name)
        check_member(member, path)
        with archive.open(member) as stream:
            header = read_header(stream, member.file_size, f"{name} in {path}")
        offset = None
        if member.compress_type == zipfile.ZIP_STORED:
            file.seek(member.header_offset)
            lengths = np.frombuffer(file.read(_LOCAL_HEADER)[-4:], "<u2")
            offset = member.header_offset + _LOCAL_HEADER + int(lengths.sum()) + header.size
    return _Numbers(path, name, header, offset)


def _open_folder(path: Path) -> _Arrays:
    """Return the arrays in the .npy files of a folder."""
    names = [each.stem for each in sorted(path.glob("*.npy"))]
    return _Arrays(names, lambda name: _look_into_npy(path / f"{name}.npy"))


def _look_into_npy(path: Path) -> Column:
    size = require_regular(path)
    with _reading(path), path.open("rb") as file:
        header = read_header(file, size, str(path))
    return _Numbers(path, path.stem, header, header.size)


class _Hdf5(Column):
    """An array in an HDF5 file.

    Parameters
    ----------
    path
        The file.
    held
        The array in it, as h5py opened it.
    """

    def __init__(self, path: Path, held: Any) -> None:
        if held.shape is None:
            raise InvalidInputError(
                f"{path}: {held.name.strip('/')!r} is an array without numbers."
            )
        edges = range(0, held.shape[0], held.chunks[0]) if held.chunks else None
        super().__init__(f"{held.name.strip('/')} in {path}", held.shape, held.dtype, edges)
        self._path, self._held = path, held

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from ``start`` to before ``stop``."""
        with _reading(self._path):
            return np.asarray(self._held[start:stop])


def _open_hdf5(path: Path) -> _Arrays:
    import h5py

    def look(name: str) -> Column:
        with _reading(path):
            held = open_dataset(file, name, path)
            if not isinstance(held, h5py.Dataset):
                raise InvalidInputError(
                    f"{path}: {name!r} must be an array. It is a group of them."
                )
            return _Hdf5(path, held)

    with _reading(path):
        file = h5py.File(path, "r")
        return _Arrays(list(file), look)


class _Held(Column):
    """An array that NumPy has opened: in memory, or mapped."""

    def __init__(self, array: np.ndarray) -> None:
        where = getattr(array, "filename", None)
        name = "an array" if where is None else f"an array in {where}"
        super().__init__(name, array.shape, array.dtype)
        self._array = array

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from ``start`` to before ``stop``."""
        return np.array(self._array[start:stop])


def as_column(array: Any) -> Any:
    """Return an array that lies in a file, as NumPy or h5py opened it, as a column; others as they are."""
    if isinstance(array, np.memmap) and array.filename is not None:
        return _Held(array)
    if type(array).__module__.startswith("h5py.") and hasattr(array, "chunks"):
        return _Hdf5(Path(array.file.filename), array)
    return array


def hold_column(array: Any) -> Column:
    """Return an array, wherever it is, as a column."""
    return array if isinstance(array, Column) else _Held(np.asarray(array))


class _Table(Column):
    """Columns of a Parquet file, side by side; a single one that is not stacked has one axis.

    Parameters
    ----------
    path
        The file.
    file
        As pyarrow opened it.
    names
        Of the columns.
    dtype
        Of the array.
    stacked
        Whether it has two axes.
    """

    def __init__(self, path: Path, file: Any, names: list[str], dtype: Any, stacked: bool) -> None:
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self._ends = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        shape = (int(self._ends[-1]), *([len(names)] if stacked else []))
        super().__init__(f"{', '.join(names)} in {path}", shape, dtype, self._ends[:-1].tolist())
        self._path, self._file, self._names = path, file, names

    @property
    def obstacle(self) -> str:
        """Why parts cannot be read, and the way out; '' where they can."""
        rows = int(np.diff(self._ends).max(initial=0))
        if rows * len(self._names) * self.dtype.itemsize <= _LARGEST_GROUP:
            return ""
        return (
            f"{self.name} has groups of up to {rows:,} rows, which are read as a whole, and are more than "
            f"{_LARGEST_GROUP:,} bytes. Write the file with smaller ones, such as row_group_size=100_000."
        )

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from ``start`` to before ``stop``, of the groups of rows that they are in."""
        first = int(np.searchsorted(self._ends, start, "right")) - 1
        last = int(np.searchsorted(self._ends, stop, "left"))
        with _reading(self._path):
            groups = list(range(first, last))
            table = self._file.read_row_groups(groups, columns=list(dict.fromkeys(self._names)))
            part = table.slice(start - int(self._ends[first]), stop - start)
            columns = [np.asarray(part[name].to_numpy()) for name in self._names]
        if len(self.shape) == 1:
            return columns[0]
        return np.stack(columns, axis=1).astype(self.dtype, copy=False)


class Table:
    """The columns of a Parquet file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InvalidInputError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        parquet = require("pyarrow.parquet", "parquet", "reading Parquet")
        self.path = path
        require_regular(path)
        with _reading(path):
            self._file = parquet.ParquetFile(path)
            self.names = list(self._file.schema_arrow.names)
        _refuse_repeated(self.names, path)

    def kind(self, name: str) -> np.dtype:
        """Return the type of a column's numbers; that of objects for what are none."""
        held = self._file.schema_arrow.field(name).type
        is_encoded = str(held).startswith("dictionary<")
        try:
            return np.dtype((held.value_type if is_encoded else held).to_pandas_dtype())
        except (NotImplementedError, TypeError):
            return np.dtype(object)

    def column(self, names: list[str], dtype: Any = None) -> Column:
        """Return columns side by side, as numbers of a type; one column as it is, if no type is given."""
        stacked = dtype is not None or len(names) > 1
        kinds = np.result_type(*(self.kind(name) for name in names)) if dtype is None else dtype
        return _Table(self.path, self._file, names, kinds, stacked)
