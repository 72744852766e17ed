"""Long runs, of many levels or of many fits in one process, leave nothing behind."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from pathlib import Path

import keras
import pytest

import fabricfit
from tests.common import L, blobs

pytestmark = [pytest.mark.keras, pytest.mark.slow]

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


def tagger():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, activation="relu", name="fc"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _count(folder):
    return sum(1 for _ in Path(folder).iterdir())


def measure():
    """Return megabytes of memory, open files, threads and entries of the folder for temporary files."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "files": _count("/proc/self/fd"),
        "threads": threading.active_count(),
        "tasks": _count("/proc/self/task"),
        "folders": _count(tempfile.gettempdir()),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_fits_leave_nothing_behind(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    X, y = blobs(256, 8)
    model, told = tagger(), {}
    for number in range(1, 101):
        result = fabricfit.fit(
            model, (X, y), (X, y), {"dsp": "50%"}, hls_config=CONFIG, epochs=2, rtol=None,
            directory=tmp_path / "runs", batch_size=64,
        )  # fmt: skip
        del result
        if number % 10 == 0:
            told[number] = measure()
    with capsys.disabled():
        for number, each in told.items():
            sys.stdout.write(f"\n{number} fits: {each}")
    first, half, last = told[20], told[50], told[100]
    assert last["files"] <= first["files"] and last["threads"] <= first["threads"]
    assert last["folders"] == 0
    # No object of Python stays: what grows is the backend's (0.5 MB a fit, 4 MB in Keras' own).
    assert (last["memory"] - half["memory"]) / 50 < 1.5


def test_forty_levels_use_no_more_than_ten(tmp_path, capsys):
    X, y = blobs(256, 8)
    used = {}
    for steps in (10, 40):
        result = fabricfit.fit(
            tagger(), (X, y), (X, y), {"dsp": "20%"}, hls_config=CONFIG, epochs=2, rtol=None,
            directory=tmp_path / str(steps), batch_size=64,
            scheduler=fabricfit.scheduler.PolynomialScheduler(steps),
        )  # fmt: skip
        used[steps] = measure()
        assert len(result.history) == steps
        assert len(list(result.directory.glob("*.npz"))) <= 3
    with capsys.disabled():
        sys.stdout.write(f"\n{used}")
    assert used[40]["files"] <= used[10]["files"] and used[40]["threads"] <= used[10]["threads"]
    assert used[40]["memory"] - used[10]["memory"] < 50
