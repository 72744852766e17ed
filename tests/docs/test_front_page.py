"""The five lines of the front page run as they stand, with nothing given but a model, data and a board."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.marks import ON_ONE_BACKEND

pytestmark = [*ON_ONE_BACKEND, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "index.md"


def test_the_five_lines_run(jets, tmp_path, monkeypatch):
    import keras

    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    lines = re.search(r'^```python title="five lines"\n(.*?)^```', text, re.DOTALL | re.MULTILINE)[
        1
    ]
    assert len([line for line in lines.splitlines() if line and "import" not in line]) == 5
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(5, "softmax")]
    model = keras.Sequential([keras.Input((16,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(jets.X_train, jets.y_train, epochs=2, verbose=0)
    names = {
        "model": model,
        "X": jets.X_train[:1000],
        "y": jets.y_train[:1000],
        "X_val": jets.X_val,
        "y_val": jets.y_val,
        "X_test": jets.X_test,
        "y_test": jets.y_test,
    }
    exec(compile(lines, str(PAGE), "exec"), names)
    assert names["result"].report.fits
    assert (tmp_path / "out" / "model.keras").exists()
    assert (tmp_path / "project" / "build_prj.tcl").exists()
    assert names["result"].verify(jets.X_test, samples=50).passed
