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
    assert demo.main(["--epochs", "60", "--keep", "0.9", "--output", str(tmp_path)]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "of 220 DSP" in out
    assert "Test accuracy on 12,000 jets" in out
    report = json.loads((tmp_path / "run-0001" / "report.json").read_text())
    assert report["resources_after"][0] == 0
    assert report["resources_after"][2] <= 53_200
    assert report["metric_after"] > 0.45
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


@pytest.mark.parametrize(("agrees", "expected"), [(True, "as predicted"), (False, "not as pred")])
def test_the_proof_says_what_was_found(agrees, expected, capsys):
    from fabricfit.firmware import LayerVerification, Verification

    layer = LayerVerification("fc", "Latency", "latency", 1, 9, 9, 9, agrees, 4, 4 if agrees else 5)
    found = Verification((layer,), True, agrees, samples=20)
    demo._show_verification(Console(), found)
    out = " ".join(capsys.readouterr().out.split())
    assert expected in out
    assert ("bit for bit" in out) is agrees
