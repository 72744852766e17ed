from __future__ import annotations

import json
import shutil

import pytest
from rich.console import Console

from fabricfit import datasets, demo
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def test_the_demo_meets_its_budget_and_saves_a_plain_model(tmp_path, monkeypatch, capfd):
    import keras

    small = datasets.load_jets(samples=3000)
    monkeypatch.setattr(datasets, "load_jets", lambda: small)
    monkeypatch.setattr(shutil, "which", lambda _: None)  # nothing is compiled
    arguments = ["--strategy", "Resource", "--reuse-factor", "2", "--output", str(tmp_path)]
    assert demo.main(arguments) == 0
    out = capfd.readouterr().out
    assert "2,133 of 220 DSP" in out
    assert "Test accuracy on 12,000 jets" in out
    report = json.loads((tmp_path / "run-0001" / "report.json").read_text())
    assert report["resources_after"][0] <= 220
    model = keras.models.load_model(tmp_path / "run-0001" / "jet_tagger.keras")
    assert model.input_shape == (None, 16)
    page = tmp_path / "run-0001" / "report.html"
    assert "jet_tagger for PYNQ-Z2" in page.read_text(encoding="utf-8")
    assert not told_by_a_browser(page)


def told_by_a_browser(page_file):
    """Return what the console of a browser says of a page; nothing without a browser."""
    from tests.reporting.test_page import CHROMIUM, QUIET

    if CHROMIUM is None:
        return []
    api = pytest.importorskip("playwright.sync_api")
    told = []
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(page_file.as_uri())
        browser.close()
    return told


def test_a_budget_that_is_met_already_needs_no_run(tmp_path, monkeypatch, capfd):
    small = datasets.load_jets(samples=200)
    monkeypatch.setattr(datasets, "load_jets", lambda: small)
    assert demo.main(["--device", "vu13p", "--output", str(tmp_path / "x")]) == 0
    assert "It fits as it is" in capfd.readouterr().out
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("agrees", "expected"), [(True, "as predicted"), (False, "not as pred")])
def test_the_proof_says_what_was_found(agrees, expected, capsys):
    from fabricfit.firmware import LayerVerification, Verification

    layer = LayerVerification("fc", "Latency", "latency", 1, 9, 9, 9, agrees, 4, 4 if agrees else 5)
    found = Verification((layer,), True, agrees, samples=20)
    demo._show_verification(Console(), found)
    out = " ".join(capsys.readouterr().out.split())
    assert expected in out
    assert ("bit for bit" in out) is agrees
