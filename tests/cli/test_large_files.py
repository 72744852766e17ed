"""Files of samples that are not read into memory as a whole."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from fabricfit.cli.files import open_arrays
from fabricfit.cli.inputs import load_data, take_samples
from fabricfit.cli.sections import DataConfig
from fabricfit.errors import InvalidInputError
from fabricfit.samples import Stored
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def _write_npz(folder, X, y):
    np.savez(folder / "d.npz", X=X, y=y)
    return "d.npz"


def _write_columns(folder, X, y):
    np.savez(folder / "d.npz", X=np.asfortranarray(X), y=y, other=np.array([{}], object))
    return "d.npz"


def _write_folder(folder, X, y):
    (folder / "d").mkdir()
    np.save(folder / "d" / "X.npy", X)
    np.save(folder / "d" / "y.npy", y)
    return "d"


def _write_hdf5(folder, X, y):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(50, X.shape[1]), compression="gzip")
        file["y"] = y
    return "d.h5"


def _write_parquet(folder, X, y):
    table = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    parquet.write_table(table.table({**columns, "y": y}), folder / "d.parquet", row_group_size=70)
    return "d.parquet"


def _write_module(folder, X, y):
    np.save(folder / "X.npy", X)
    (folder / "mapped_samples.py").write_text(
        "import numpy as np\n"
        f"def pairs():\n    return np.load('X.npy', mmap_mode='r'), np.array({y.tolist()})\n"
    )
    return "mapped_samples:pairs"


WRITERS = (_write_npz, _write_columns, _write_folder, _write_hdf5, _write_parquet, _write_module)


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_holds_the_same_read_block_by_block(job, tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fabricfit.samples.stored._BLOCK_BYTES", 2000)
    source = write(tmp_path, job.X, job.y)
    read = {
        limit: load_data(DataConfig(source=source, memory_gib=limit, validation_fraction=0.25))
        for limit in (0, 1)
    }
    if write is _write_columns:
        assert not any(isinstance(part, Stored) for part in read[1])
    assert all(isinstance(part, Stored) for part in read[0])
    assert [len(part) for part in read[0]] == [len(part[1]) for part in read[1]] == [180, 60]
    rows = {row.tobytes(): label for row, label in zip(job.X, job.y, strict=True)}
    found = {}
    for part in read[0]:
        for X, y in part.batches(50):
            assert X.dtype == np.float32
            labels = y.labels[0].tolist()
            found.update(zip((row.tobytes() for row in X), labels, strict=True))
    assert found == rows


@pytest.fixture
def compared(job, tmp_path, monkeypatch, command):
    """Run a command with samples in memory, and with samples that stay in their file."""
    monkeypatch.chdir(tmp_path)
    _write_npz(tmp_path, job.X, job.y)

    def run(*words):
        found = []
        for limit in (1, 0):
            output = [each.format(limit=limit) if isinstance(each, str) else each for each in words]
            found.append(command(*output, "--memory-gib", limit, "--json"))
        return found

    return run


def test_a_run_is_that_from_memory(job, tmp_path, compared):
    # So few samples are shuffled alike, and the same ones validate.
    words = ["--data", "d.npz", "--dsp", 60, "--epochs", 2, "--batch-size", 60]
    whole, stored = compared("optimize", job.model, *words, "--output", "runs-{limit}")
    assert whole[0] == stored[0] in (0, 4), stored
    models = [
        keras.saving.load_model(next(tmp_path.glob(f"runs-{limit}/*/model.keras")))
        for limit in (0, 1)
    ]
    for a, b in zip(*(each.get_weights() for each in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_formats_and_designs_are_those_from_memory(job, compared):
    for words in (["calibrate"], ["explore", "--dsp", 50, "--loss", LOSS]):
        whole, stored = compared(words[0], job.model, "--data", "d.npz", *words[1:])
        assert whole[0] == stored[0] == 0
        assert json.loads(whole[1]) == json.loads(stored[1])
    words = ["verify", job.model, "--data", "d.npz", "--counts-only"]
    whole, stored = compared(*words)
    assert whole[:2] == stored[:2]


LOSS = "sparse_categorical_crossentropy"


def test_files_that_cannot_be_read_in_part_are_refused(job, tmp_path, refused):
    np.savez_compressed("packed.npz", X=job.X, y=job.y)
    read = load_data(DataConfig(source="packed.npz"))
    assert len(read[0][0]) == 192
    said = refused("verify", "model.keras", "--data", "packed.npz", "--memory-gib", 0)
    assert "X in packed.npz is compressed" in said and "--memory-gib" in said
    said = refused("verify", "model.keras", "--data", "packed.npz", "--memory-gib", -1)
    assert "--memory-gib" in said
    np.save("X.npy", job.X)
    assert "a folder of .npy files" in refused("verify", "model.keras", "--data", "X.npy")
    with pytest.raises(InvalidInputError, match="leaves none"):
        load_data(DataConfig(source="packed.npz", validation_fraction=0.001))


def test_arrays_of_any_order_and_shape_are_read_in_their_place(tmp_path):
    rng = np.random.default_rng(0)
    images, flat = rng.normal(size=(40, 3, 4, 2)), rng.normal(size=40)
    np.savez(tmp_path / "d.npz", c=images, f=np.asfortranarray(images), one=flat)
    columns = open_arrays(tmp_path / "d.npz")
    for name, array in (("c", images), ("f", images), ("one", flat)):
        np.testing.assert_array_equal(columns[name].read(7, 31), array[7:31])
        np.testing.assert_array_equal(columns[name].whole(), array)
    (tmp_path / "d.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:1500])
    with pytest.raises(InvalidInputError, match=r"d\.npz cannot be read as an \.npz file"):
        columns["f"].read(7, 31)


def test_few_samples_of_a_file_come_from_all_of_it(job, tmp_path):
    source = tmp_path / _write_npz(tmp_path, np.arange(8000.0).reshape(1000, 8), np.arange(1000))
    config = DataConfig(source=str(source), memory_gib=0)
    X, y = take_samples(load_data(config)[0], 100)
    assert len(y) == 100 and y[:20].max() - y[:20].min() > 400
    np.testing.assert_array_equal(X[:, 0], 8 * y)


_MIB = 2**20
_MEASURE = """
import pathlib, re, sys
from fabricfit.cli import main
code = main(sys.argv[1:])
status = pathlib.Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak, too
print("PEAK", code, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read in /proc")
def test_a_run_needs_far_less_memory_than_the_file_has(tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    layers = [keras.Input((80,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(3, "softmax")]
    keras.Sequential(layers).save(tmp_path / "wide.keras")
    with h5py.File(tmp_path / "large.h5", "w") as file:
        X = file.create_dataset("X", (1_000_000, 80), "float32", chunks=(1024, 80))
        y = file.create_dataset("y", (1_000_000,), "int64", chunks=(1024,))
        for start in range(0, 1_000_000, 100_000):
            part = rng.normal(size=(100_000, 80)).astype("float32")
            X[start : start + 100_000], y[start : start + 100_000] = part, part[:, :3].argmax(1)
    with h5py.File(tmp_path / "small.h5", "w") as file:
        file["X"], file["y"] = part[:8000], part[:8000, :3].argmax(1)
    assert (tmp_path / "large.h5").stat().st_size > 300 * _MIB
    peaks = []
    for name in ("small.h5", "large.h5"):
        words = ["optimize", tmp_path / "wide.keras", "--data", tmp_path / name, "--memory-gib", 0]
        words += ["--dsp", 160, "--epochs", 2, "--batch-size", 8192, "--json"]
        words += ["--output", tmp_path / f"runs-{name}"]
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, *map(str, words)],
            capture_output=True,
            text=True,
            check=True,
        )
        said, _, told = done.stdout.rpartition("PEAK")
        assert told.split()[0] in ("0", "4"), said
        peaks.append(int(told.split()[1]))
        report = json.loads(said)["report"]
    assert report["metric_after"] > 0.6 > report["metric_before"]  # it has learnt from the file
    assert peaks[1] - peaks[0] < 200 * _MIB, peaks
