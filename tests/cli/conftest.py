from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from fabricfit.cli import main
from tests.cli.folders import contents


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """A model, samples and a configuration that works, quickly."""
    import keras

    folder = tmp_path_factory.mktemp("job")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(12, activation="relu", name="fc"),
            keras.layers.Dense(3, activation="softmax", name="out"),
        ],
        name="tagger",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(folder / "model.keras")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 8)).astype("float32")
    y = (X[:, :3] + 0.2 * rng.normal(size=(240, 3))).argmax(axis=1)
    np.savez(folder / "data.npz", X=X, y=y)
    values = {
        "model": "model.keras",
        "data": {"source": "data.npz"},
        "budget": {"relative": {"dsp": 0.5}},
        "training": {"batch_size": 64, "epochs": 2, "tuner": None},
        "levels": {"steps": 2},
        "directory": "runs",
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return SimpleNamespace(folder=folder, values=values, X=X, y=y, model=folder / "model.keras")


@pytest.fixture
def command(capfd):
    """Run a command; return its exit code and what it wrote to both streams."""

    def run(*words):
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def refused(job, tmp_path, monkeypatch, capfd):
    """Run a command in a copy of the job's folder; check how it ends, and return what it said."""
    folder = tmp_path / "job"
    shutil.copytree(job.folder, folder, ignore=shutil.ignore_patterns("runs"))
    monkeypatch.chdir(folder)

    def run(*words, codes=(2,)):
        before = contents(folder)
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        said = err.replace("\n", " ")
        assert code in codes, (code, words, said)
        assert "Traceback" not in err + out
        assert "error:" in err and len(said.strip()) > 15, err
        assert contents(folder) == before
        return said

    run.folder = folder
    return run
