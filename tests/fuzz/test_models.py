"""Changed files of models: loaded, or refused by an error of our own; nothing in them is run."""

from __future__ import annotations

import json
import random
import warnings
import zipfile

import keras
import pytest

import fabricfit
from tests.fuzz.mutation import change_bytes, change_value, try_reader
from tests.marks import ON_ONE_BACKEND

pytestmark = [*ON_ONE_BACKEND, pytest.mark.slow]

EXAMPLES = 500
"""Of each format, of bytes and of values."""


@pytest.fixture(scope="module")
def model():
    layers = [
        keras.layers.Dense(4, activation="relu", name="fc"),
        keras.layers.BatchNormalization(),
    ]
    found = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2, name="out")])
    found.compile("adam", "mse", metrics=["mae"])
    return found


def _load(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabricfit.load_model(path)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_changed_bytes_of_models(model, name, tmp_path):
    path = tmp_path / name
    model.save(path)
    content = path.read_bytes()
    assert try_reader(lambda: _load(path), None, "unchanged")
    for seed in range(EXAMPLES):
        path.unlink()
        path.write_bytes(change_bytes(content, random.Random(seed)))
        try_reader(lambda: _load(path), None, f"seed {seed}")


def _members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_archives_of_changed_weights(model, tmp_path):
    """The archive is whole, so that the weights are read."""
    path = tmp_path / "m.keras"
    model.save(path)
    members = _members(path)
    weights = members["model.weights.h5"]
    for seed in range(EXAMPLES):
        members["model.weights.h5"] = change_bytes(weights, random.Random(seed))
        _write(path, members)
        try_reader(lambda: _load(path), None, f"seed {seed}")


def test_changed_architectures(model, tmp_path):
    path = tmp_path / "m.keras"
    model.save(path)
    members = _members(path)
    values = json.loads(members["config.json"])
    for seed in range(EXAMPLES):
        changed = change_value(values, random.Random(seed))
        members["config.json"] = json.dumps(changed).encode()
        _write(path, members)
        try_reader(lambda: _load(path), None, f"seed {seed}: {str(changed)[:2000]}")


def test_changed_architectures_with_weights_beside_them(model, tmp_path):
    path = tmp_path / "m.json"
    model.save_weights(tmp_path / "m.weights.h5")
    values = json.loads(model.to_json())
    path.write_text(json.dumps(values))
    assert try_reader(lambda: _load(path), path, "unchanged")
    for seed in range(EXAMPLES):
        path.write_text(json.dumps(change_value(values, random.Random(seed))))
        try_reader(lambda: _load(path), path, f"seed {seed}")
