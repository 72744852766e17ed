"""Invalid data and models: refused with exit code 2 and a message, no traceback, no changed file."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.cli import main
from tests.cli.folders import contents
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def _npz(**arrays):
    return lambda path: np.savez(path, **arrays)


X, Y = np.zeros((20, 8), "float32"), np.arange(20) % 3
DATA = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("X, y"),
    "torn": lambda path: (np.savez(path, X=X, y=Y), path.write_bytes(path.read_bytes()[:-60])),
    "nothing in it": _npz(),
    "no targets": _npz(X=X),
    "no inputs": _npz(y=Y),
    "other names": _npz(a=X, b=Y),
    "objects": _npz(X=np.array([object()] * 3), y=np.zeros(3)),
    "texts": _npz(X=np.array([["a"] * 8] * 20), y=Y),
    "complex": _npz(X=X.astype(complex), y=Y),
    "a number": _npz(X=np.float32(1), y=Y),
    "no samples": _npz(X=X[:0], y=Y[:0]),
    "one sample": _npz(X=X[:1], y=Y[:1]),
    "unequal": _npz(X=X, y=Y[:-1]),
    "too few features": _npz(X=X[:, :5], y=Y),
    "too many axes": _npz(X=np.stack([X, X], -1), y=Y),
    "NaN": _npz(X=np.full_like(X, np.nan), y=Y),
    "infinite": _npz(X=np.full_like(X, np.inf), y=Y),
    "classes too high": _npz(X=X, y=Y + 5),
    "classes negative": _npz(X=X, y=Y - 5),
    "targets of a wrong shape": _npz(X=X, y=np.zeros((20, 4, 2))),
    "a single array": lambda path: path.with_suffix(".npy") and np.save(path.open("wb"), X),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", DATA)
def test_data_that_cannot_be_used_are_refused(job, refused, kind):
    DATA[kind](Path("wrong.npz"))
    refused(
        "optimize", "model.keras", "--data", "wrong.npz", "--dsp", 50, "--output", "o", "--quiet"
    )
    assert not Path("o").exists()


@pytest.mark.parametrize("name", ["d.h5", "d.parquet", "d.csv", "d", "d.npz.gz"])
@pytest.mark.parametrize("content", [b"", b"PAR1 or HDF or what"])
def test_other_files_that_cannot_be_used_are_refused(refused, name, content):
    Path(name).write_bytes(content)
    refused("optimize", "model.keras", "--data", name, "--dsp", 50, "--output", "o", "--quiet")


def test_tables_that_do_not_suit_are_refused(refused):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for columns in (
        {"y": [1, 2]},
        {"a": [1, 2]},
        {"y": ["u", "v"], "a": [1, 2]},
        {"y": [0, 1], "a": ["u", "v"]},
    ):
        pandas.DataFrame(columns).to_parquet("d.parquet")
        refused("optimize", "model.keras", "--data", "d.parquet", "--dsp", 50, "--quiet")


def _zip(**members):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("_", "."), content)

    return write


def _rewritten(change):
    """Return what writes the model with another configuration."""

    def write(path):
        with zipfile.ZipFile("model.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


def _unbuilt(path):
    keras.Sequential([keras.layers.Dense(3)]).save(path)


def _with_lambda(path):
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(3)]
    )
    model.save(path)


MODELS = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a model"),
    "torn": lambda path: path.write_bytes(Path("model.keras").read_bytes()[:-200]),
    "torn at the start": lambda path: path.write_bytes(Path("model.keras").read_bytes()[200:]),
    "an empty archive": _zip(),
    "no configuration": _zip(metadata_json="{}"),
    "a configuration that is no JSON": _zip(config_json="{", metadata_json="{}"),
    "a configuration of nothing": _zip(config_json="{}", metadata_json="{}"),
    "a list": _zip(config_json="[]", metadata_json="{}"),
    "no weights": _rewritten(lambda c: c),
    "an unknown class": _rewritten(lambda c: {**c, "class_name": "Sequences"}),
    "an unknown module": _rewritten(
        lambda c: {**c, "module": "nowhere.to.be.found", "class_name": "X"}
    ),
    "a module that is not Keras'": _rewritten(
        lambda c: {**c, "module": "os", "class_name": "system"}
    ),
    "no layers": _rewritten(lambda c: {**c, "config": {"name": "x", "layers": []}}),
    "unbuilt": _unbuilt,
    "code in it": _with_lambda,
    "a folder": lambda path: path.mkdir(),
}
MODELS["no weights"] = lambda path: _zip(
    config_json=zipfile.ZipFile("model.keras").read("config.json"),
    metadata_json=zipfile.ZipFile("model.keras").read("metadata.json"),
)(path)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("command", ["estimate", "reduce", "optimize"])
def test_models_that_cannot_be_loaded_are_refused(refused, kind, command):
    MODELS[kind](Path("wrong.keras"))
    words = {
        "reduce": ["smaller.keras"],
        "optimize": ["--data", "data.npz", "--dsp", 50, "--quiet"],
    }
    refused(command, "wrong.keras", *words.get(command, []))


@pytest.mark.parametrize(
    "name", ["missing.keras", "model.pkl", "model.h5", ".", "run.yaml/x.keras"]
)
def test_names_that_are_no_models_are_refused(refused, name):
    if name == "model.h5":
        Path(name).write_bytes(b"\x89HDF but not really")
    refused("estimate", name)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_changed_files_never_end_in_a_traceback(job, tmp_path_factory, seed):
    draw = random.Random(seed)
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("model.keras", "data.npz"):
        content = bytearray((job.folder / name).read_bytes())
        for _ in range(draw.randint(1, 30)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (folder / name).write_bytes(
            content[: draw.choice((None, None, draw.randrange(len(content))))]
        )
    before = contents(folder)
    assert main(["estimate", str(folder / "model.keras")]) in (0, 2)
    words = [
        "--data",
        str(folder / "data.npz"),
        "--dsp",
        "0",
        "--quiet",
    ]  # cannot be met: nothing is trained
    assert main(["optimize", str(job.model), *words]) in (2, 3)
    assert contents(folder) == before
