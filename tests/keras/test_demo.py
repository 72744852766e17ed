from __future__ import annotations

import json

import pytest

from fabricfit import datasets, demo

pytestmark = pytest.mark.keras


def test_the_demo_meets_its_budget_and_saves_a_plain_model(tmp_path, monkeypatch, capfd):
    import keras

    small = datasets.load_jets(samples=3000)
    monkeypatch.setattr(datasets, "load_jets", lambda: small)
    assert demo.main(["--dsps", "500", "--output", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "1,064" in out and "Test accuracy on 12,000 jets" in out
    report = json.loads((tmp_path / "run-0001" / "report.json").read_text())
    assert report["resources_after"][0] <= 500
    model = keras.models.load_model(tmp_path / "run-0001" / "jet_tagger.keras")
    assert model.input_shape == (None, 16)


def test_a_budget_that_is_met_already_needs_no_run(tmp_path, monkeypatch, capfd):
    small = datasets.load_jets(samples=200)
    monkeypatch.setattr(datasets, "load_jets", lambda: small)
    assert demo.main(["--dsps", "5000", "--output", str(tmp_path / "x")]) == 0
    assert "fits 5000 as it is" in capfd.readouterr().out
    assert not (tmp_path / "x").exists()
