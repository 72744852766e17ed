"""Arrays in files of samples: found without being read, then read as a whole or a part at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import FabricFitError, InvalidInputError, require
from fabricfit.samples import Column

__all__ = ["Table", "as_column", "hold_column", "open_arrays"]

_ENDINGS = {".npz": "an .npz", ".h5": "an HDF5", ".hdf5": "an HDF5", ".parquet": "a Parquet"}
_LOCAL_HEADER = 30
"""Bytes in front of the name of a member in a zip archive; the last four are the lengths behind them."""


def open_arrays(path: Path) -> dict[str, Column] | None:
    """Return the arrays in a file or a folder by name; None if it is no file of arrays.

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


class _Numbers(Column):
    """An array as NumPy stores it, uncompressed, at some place of a file.

    Parameters
    ----------
    path
        The file.
    name
        Of the array.
    shape, dtype, order
        As its header says.
    offset
        Where its numbers begin; None if they are compressed.
    """

    def __init__(
        self, path: Path, name: str, shape: Any, dtype: Any, order: Any, offset: int | None
    ) -> None:
        super().__init__(f"{name} in {path}", shape, dtype)
        self._path, self._member, self._order, self._offset = path, name, order, offset

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


def _open_npz(path: Path) -> dict[str, Column]:
    with _reading(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        found: dict[str, Column] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                shape, order, dtype = _read_header(stream)
                inside = stream.tell()
            offset = None
            if member.compress_type == zipfile.ZIP_STORED:
                file.seek(member.header_offset)
                lengths = np.frombuffer(file.read(_LOCAL_HEADER)[-4:], "<u2")
                offset = member.header_offset + _LOCAL_HEADER + int(lengths.sum()) + inside
            found[name] = _Numbers(path, name, shape, dtype, order, offset)
    return found


def _open_folder(path: Path) -> dict[str, Column]:
    """Return the arrays in the .npy files of a folder."""
    found: dict[str, Column] = {}
    for each in sorted(path.glob("*.npy")):
        with _reading(each), each.open("rb") as file:
            shape, order, dtype = _read_header(file)
            found[each.stem] = _Numbers(each, each.stem, shape, dtype, order, file.tell())
    return found


def _read_header(stream: Any) -> tuple[Any, Any, np.dtype]:
    """Return shape, order and type of an array that NumPy stored, and leave the stream behind its header."""
    version = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, in_columns, dtype = read(stream)
    return shape, "F" if in_columns else "C", dtype


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
        edges = range(0, held.shape[0], held.chunks[0]) if held.chunks else None
        super().__init__(f"{held.name.strip('/')} in {path}", held.shape, held.dtype, edges)
        self._path, self._held = path, held

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from ``start`` to before ``stop``."""
        with _reading(self._path):
            return np.asarray(self._held[start:stop])


def _open_hdf5(path: Path) -> dict[str, Column]:
    import h5py

    with _reading(path):
        file = h5py.File(path, "r")
        return {name: _Hdf5(path, held) for name, held in file.items() if hasattr(held, "shape")}


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
        with _reading(path):
            self._file = parquet.ParquetFile(path)
            self.names = list(self._file.schema_arrow.names)

    def kind(self, name: str) -> np.dtype:
        """Return the type of a column's numbers; that of objects for what are none."""
        held = self._file.schema_arrow.field(name).type
        try:
            return np.dtype(getattr(held, "value_type", held).to_pandas_dtype())
        except (NotImplementedError, TypeError):
            return np.dtype(object)

    def column(self, names: list[str], dtype: Any = None) -> Column:
        """Return columns side by side, as numbers of a type; one column as it is, if no type is given."""
        stacked = dtype is not None or len(names) > 1
        kinds = np.result_type(*(self.kind(name) for name in names)) if dtype is None else dtype
        return _Table(self.path, self._file, names, kinds, stacked)
