"""Changed files of samples: read whole and block by block, or refused by an error of our own."""

from __future__ import annotations

import random
import zipfile

import keras
import numpy as np
import pytest

from fabricfit.cli.inputs import load_data, take_samples
from fabricfit.cli.sections import DataConfig
from tests.fuzz.mutation import change_bytes, try_reader
from tests.marks import ON_ONE_BACKEND

pytestmark = [*ON_ONE_BACKEND, pytest.mark.slow]

EXAMPLES = 2000
"""Of each format."""

X = np.arange(240, dtype="float32").reshape(40, 6)
Y = np.arange(40) % 3


def _write_npz(folder):
    np.savez(folder / "d.npz", X=X, y=Y, w=np.ones(40))
    return "d.npz"


def _write_packed(folder):
    np.savez_compressed(folder / "d.npz", X=X, y=Y)
    return "d.npz"


def _write_npy(folder):
    (folder / "d").mkdir()
    np.save(folder / "d" / "X.npy", np.asfortranarray(X))
    np.save(folder / "d" / "y.npy", Y)
    return "d/X.npy"


def _write_h5(folder):
    import h5py

    with h5py.File(folder / "d.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(8, 6), compression="gzip")
        file["y"] = Y
        file["link"] = h5py.SoftLink("/X")
        file.create_group("more")["w"] = np.ones(40)
    return "d.h5"


def _write_parquet(folder):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({f"x{n}": X[:, n] for n in range(6)}).assign(y=Y)
    table.to_parquet(folder / "d.parquet", row_group_size=16)
    return "d.parquet"


def _read(source, memory_gib):
    training, validation = load_data(DataConfig(source=str(source), memory_gib=memory_gib))
    for part in (training, validation):
        for array in keras.tree.flatten(take_samples(part, 16)):
            assert np.asarray(array).size >= 0


def test_archives_of_changed_arrays(tmp_path):
    """The archive is whole, so that what is in it is read."""
    path = tmp_path / _write_npz(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for seed in range(EXAMPLES):
        draw = random.Random(seed)
        changed = draw.choice(list(members))
        head = members[changed][:128]  # the header
        content = {**members, changed: change_bytes(head, draw) + members[changed][128:]}
        with zipfile.ZipFile(path, "w", draw.choice((0, zipfile.ZIP_DEFLATED))) as archive:
            for name, each in content.items():
                archive.writestr(name, each)
        try_reader(lambda n=seed: _read(path, 0.01 * (n % 2)), path, f"seed {seed}")


@pytest.mark.parametrize(
    "write", [_write_npz, _write_packed, _write_npy, _write_h5, _write_parquet]
)
def test_changed_files_of_samples(write, tmp_path):
    path = tmp_path / write(tmp_path)
    source = path.parent if path.suffix == ".npy" else path
    content = path.read_bytes()
    assert try_reader(lambda: _read(source, 1.0), path, "unchanged")
    for seed in range(EXAMPLES):
        path.unlink()  # HDF5 knows files that are open by their inodes
        path.write_bytes(change_bytes(content, random.Random(seed)))
        try_reader(lambda n=seed: _read(source, 0.01 * (n % 2)), path, f"seed {seed}")
