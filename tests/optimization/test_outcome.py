"""Files of a run: where they are, what survives, and what loads elsewhere."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.common import kernel_of, mlp, outputs_of
from tests.marks import ON_ONE_BACKEND
from tests.optimization.runs import run

pytestmark = ON_ONE_BACKEND


def test_nothing_is_printed_and_nothing_is_written_elsewhere(
    trained, data, tmp_path, capfd, monkeypatch
):
    here, home, there = (tmp_path / name for name in ("here", "home", "there"))
    here.mkdir(), home.mkdir()
    monkeypatch.chdir(here)
    for variable in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(home))
    capfd.readouterr()
    run(trained, data, there, tuner="Bayesian", epochs=2, regularization_range=[1e-4, 1e-3])
    out, err = capfd.readouterr()
    assert out == "" and err == ""
    assert list(here.iterdir()) == [] and list(home.iterdir()) == []
    assert (there / "run-0001" / "best.weights.h5").is_file()
    assert not [path for path in there.rglob("*") if path.name.startswith(".")]


def test_a_second_run_overwrites_nothing(trained, data, tmp_path):
    first = run(trained, data, tmp_path)
    files = {p: p.read_bytes() for p in first.directory.rglob("*") if p.is_file()}
    second = run(trained, data, tmp_path, seed=1)
    assert second.directory != first.directory
    assert all(path.read_bytes() == content for path, content in files.items())
    assert {"best.weights.h5", "levels.json", "report.json"} <= {p.name for p in files}


def test_the_default_directory_is_not_the_working_directory(trained, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setattr("fabricfit.run.files.TMP_DIRECTORY", str(cache))
    result = run(trained, data, "hls4ml-optimization-keras")
    assert result.directory == cache / "hls4ml-optimization-keras" / "run-0001"
    assert list(tmp_path.iterdir()) == [cache]


def test_progress_is_shown_when_asked_and_the_logger_left_alone(trained, data, tmp_path, capfd):
    logger = logging.getLogger("fabricfit")
    before = (list(logger.handlers), logger.level)
    run(trained, data, tmp_path, verbose=True)
    assert "sparsity 0.25" in capfd.readouterr().err
    assert (list(logger.handlers), logger.level) == before


def test_what_is_paid_for_survives_an_exception(trained, data, tmp_path):
    class Bomb(keras.callbacks.Callback):
        begun = 0

        def on_train_begin(self, logs=None):
            Bomb.begun += 1
            if Bomb.begun == 2:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(trained, data, tmp_path, callbacks=[Bomb()], rewinding_epochs=1)
    model = mlp(hidden=12)
    model.load_weights(tmp_path / "run-0001" / "best.weights.h5")
    assert (kernel_of(model, "fc1") == 0).any()


def test_the_result_loads_where_fabricfit_is_not_installed(trained, data, tmp_path):
    result = run(trained, data, tmp_path)
    result.model.save(tmp_path / "result.keras")
    np.save(tmp_path / "X.npy", data[1][0])
    script = f"""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "fabricfit":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Nowhere())
        import keras, numpy as np
        model = keras.models.load_model({str(tmp_path / "result.keras")!r})
        X = np.load({str(tmp_path / "X.npy")!r})
        np.save({str(tmp_path / "out.npy")!r}, keras.ops.convert_to_numpy(model(X)))
        assert model.optimizer is not None and "fabricfit" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=tmp_path)
    expected = outputs_of(result.model, data[1][0])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)


def test_files_of_a_run_are_in_its_folder(trained, data, tmp_path):
    result = run(trained, data, tmp_path)
    assert result.directory.parent == Path(tmp_path)
    levels = json.loads((result.directory / "levels.json").read_text())
    assert [level["sparsity"] for level in levels] == [0.25, 0.5]
    report = json.loads((result.directory / "report.json").read_text())
    assert report["sparsity"] == 0.5 and len(report["layers"]) == 3


def test_a_directory_that_is_a_file_is_refused(trained, data, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OSError, match="must name a folder"):
        run(trained, data, path)
    assert path.read_text() == "mine"
