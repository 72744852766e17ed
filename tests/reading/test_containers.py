"""Archives, HDF5 files and arrays that others wrote: sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.reading import (
    check_archive,
    check_datasets,
    check_heaps,
    open_dataset,
    read_header,
    read_member,
)


def _archive(*members, method=zipfile.ZIP_DEFLATED):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return held


def _check(held):
    with zipfile.ZipFile(held) as archive:
        check_archive(archive, "it")


def test_archives_that_grow_beyond_measure_are_refused(monkeypatch):
    monkeypatch.setattr("fabricfit.reading.archives._NEVER_SUSPECT", 1 << 10)
    _check(_archive(("a", b"abc" * 300)))
    with pytest.raises(InvalidInputError, match="it would grow from"):
        _check(_archive(("assets/a", bytes(1 << 20))))
    with (
        zipfile.ZipFile(_archive(("a", bytes(1 << 20)))) as archive,
        pytest.raises(InvalidInputError, match="a would grow from"),
    ):
        read_member(archive, "a", "it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_read_in_two_ways_are_refused():
    with pytest.raises(InvalidInputError, match="holds 'a' twice"):
        _check(_archive(("a", b"1"), ("a", b"2")))
    with pytest.raises(InvalidInputError, match="method 12"):
        _check(_archive(("a", b"1"), method=zipfile.ZIP_BZIP2))
    content = bytearray(_archive(("a", b"1")).getvalue())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidInputError, match="'a' is encrypted"):
        _check(io.BytesIO(content))
    held = _archive(("a", b"12345" * 100), method=zipfile.ZIP_STORED)
    content = held.getvalue().replace(b"1234512345", b"1234012345", 1)
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        pytest.raises(InvalidInputError, match=r"it: a cannot be read: .*CRC"),
    ):
        read_member(archive, "a", "it")


def _header(shape, kind="<f4"):
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_header((10**15, 8)), r"says that it is float32 of shape \(1000000000000000, 8\)"),
        (_header((10**12,) * 3), "says that it is float32"),
        (_header((-1, 8)), "must have a shape"),
        (_header((2,)) + bytes(9), "8 bytes, and has 9"),
        (_header("x"), "no array of NumPy"),
        (_header((2,), "nonsense"), "no array of NumPy"),
        (b"\x93NUMPY\x02\x00\x50\xc3\x00\x00" + b"[" * 50_000, "no array of NumPy"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"-" * 65_535, "no array of NumPy"),
        (b"\x80\x04N.", "no array of NumPy"),
        (b"", "no array of NumPy"),
    ],
    ids=range(10),
)
def test_headers_of_arrays_are_compared_with_what_is_there(content, said):
    with pytest.raises(InvalidInputError, match=f"^it .*{said}"):
        read_header(io.BytesIO(content), len(content), "it")


def test_a_header_tells_shape_type_and_order():
    held = io.BytesIO()
    np.save(held, np.asfortranarray(np.zeros((3, 4), ">i2")))
    size = held.tell()
    held.seek(0)
    found = read_header(held, size, "it")
    assert (found.shape, found.dtype, found.order) == ((3, 4), np.dtype(">i2"), "F")
    assert found.size + found.nbytes == size and held.tell() == found.size


HDF5 = {
    "another file": (
        lambda file: file.__setitem__("X", h5py.ExternalLink("/etc/passwd", "/x")),
        "'X' is in another file, '/etc/passwd'",
    ),
    "numbers elsewhere": (
        lambda file: file.create_dataset("X", (4,), "u1", external=[("other", 0, 4)]),
        "the numbers of 'X' are in other files",
    ),
    "a link to nowhere": (
        lambda file: file.__setitem__("X", h5py.SoftLink("/nowhere")),
        "'X' cannot be read",
    ),
    "a link to itself": (
        lambda file: file.__setitem__("X", h5py.SoftLink("/X")),
        "'X' cannot be read",
    ),
    "a terabyte of nothing": (
        lambda file: file.create_dataset("X", (2**37, 2), "f4", chunks=(1024, 2)),
        "and 0 are stored of it",
    ),
}


def _virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "X", (4,))
    file.create_virtual_dataset("X", layout)


HDF5["a view of other files"] = (_virtual, "the numbers of 'X' are in other files")


@pytest.mark.parametrize("kind", HDF5)
def test_hdf5_is_read_from_one_file_only_and_as_large_as_it_is(kind, tmp_path):
    make, said = HDF5[kind]
    with h5py.File(tmp_path / "it.h5", "w") as file:
        group = file.create_group("a/b")
        file["a/b/loop"] = file["a"]  # a group in itself
        make(group)
    with h5py.File(tmp_path / "it.h5") as file:
        with pytest.raises(InvalidInputError, match=f"it: .*{said}"):
            open_dataset(file["a/b"], "X", "it")
        with pytest.raises(InvalidInputError, match=f"it: .*{said}"):
            check_datasets(file, "it")


def test_hdf5_that_is_compressed_well_is_read(tmp_path):
    with h5py.File(tmp_path / "it.h5", "w") as file:
        file.create_dataset("a/X", (2**20,), "f4", chunks=True, compression="gzip")
    with h5py.File(tmp_path / "it.h5") as file:
        check_datasets(file, "it")
        assert open_dataset(file["a"], "X", "it").shape == (2**20,)


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 0), (1, 0xFFFFFFFFFFFFFFF8), (1, 1 << 40), (0, 8)],
    ids=["nothing", "overflow", "beyond the end", "less than a header"],
)
def test_heaps_that_hdf5_would_follow_without_end_are_refused(number, size, tmp_path):
    path = tmp_path / "it.h5"
    with h5py.File(path, "w") as file:
        file.attrs["a"], file.attrs["b"] = "x" * 50, "y"
    check_heaps(path, "it")
    content = bytearray(path.read_bytes())
    check_heaps(bytes(content), "it")
    place = content.index(b"GCOL") + 16
    content[place : place + 2] = number.to_bytes(2, "little")
    content[place + 8 : place + 16] = size.to_bytes(8, "little")
    path.write_bytes(content)
    for given in (path, bytes(content)):
        with pytest.raises(InvalidInputError, match="it cannot be read as HDF5: the heap at"):
            check_heaps(given, "it")
