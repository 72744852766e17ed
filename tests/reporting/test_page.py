"""The page of a run, in a real browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError, RunDirectoryError
from fabricfit.keras import OptimizationSettings
from fabricfit.reporting import read_run, render_page, write_page
from fabricfit.run.files import PERFORMANCE
from tests.marks import ON_ONE_BACKEND
from tests.reporting.large_runs import NAMES, make_large_run

pytestmark = ON_ONE_BACKEND

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(
                24, activation="relu", name="fc->1"
            ),  # a name that HTML must not take
            keras.layers.Dense(12, activation="relu", name="fc2"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.Dense(3, activation="softmax", name="out"),
        ],
        name="tagger->co",
    )
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 8)).astype("float32")
    y = (X[:, :3] + 0.2 * rng.normal(size=(240, 3))).argmax(axis=1)
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    settings = OptimizationSettings(
        batch_size=64, epochs=2, optimizer="adam", loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy", increasing=True, rtol=None, tuner=None,
        directory=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip
    budget = fabricfit.Budget.relative(dsp=0.5, lut=0.9)
    return fabricfit.fit(model, (X, y), (X, y), budget, settings, hls_config=config)


def test_a_page_holds_all_that_there_is_to_know(result):
    finished = read_run(result.directory)
    page = render_page(finished)
    for part in (
        "tagger-&gt;co for", "may fit the budget", "How it was counted", "fc-&gt;1", "before → after",
        "hls4ml configuration", "LayerName", "How to repeat the run", str(result.directory), "All settings",
        f"{result.report.resources_after[0]:,.0f}", "latency, ns", "Latency, RF 1", "fixed&lt;16,6&gt;",
        "Vivado HLS 2020.1", "5 ns (200 MHz)", "io_parallel", "by the error bar",
    ):  # fmt: skip
        assert part in page, part
    assert page.count('<img src="data:image/png') == 3
    assert "fc->1" not in page
    outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)([^"')>\s]+)""", page)
    assert not [each for each in outside if not each.startswith(("#", "data:"))], outside


def test_a_deadline_is_in_the_title_and_beside_the_resources(result):
    finished = read_run(result.directory)
    latency, interval = finished.report.timing
    late = dataclasses.replace(latency, deadline_ns=1e-3), interval
    report = dataclasses.replace(finished.report, timing=late)
    page = render_page(dataclasses.replace(finished, report=report))
    for part in (", latency 0.001ns", "does not fit", "latency, ns (", "<td>interval, ns</td>"):
        assert part in page, part


@pytest.mark.parametrize(
    ("highest", "limit", "state", "badge"),
    [
        (90, 100, "yes", "fits the budget"),
        (110, 100, "maybe", "may fit the budget"),
        (110, 70, "no", "does not fit"),
    ],
)  # fmt: skip
def test_the_verdict_has_three_states_and_whiskers(result, highest, limit, state, badge):
    finished = read_run(result.directory)
    many = len(finished.report.units)
    report = dataclasses.replace(
        finished.report, timing=(), resources_after=(80.0,) * many, highest=(float(highest),) * many,
        budget=(float(limit),) * many,
    )  # fmt: skip
    page = render_page(dataclasses.replace(finished, report=report))
    assert f'<span class="verdict {state}">{badge}</span>' in page
    whole = 1.12 * max(highest, limit)
    reach = 100 * (highest - 80) / whole
    assert page.count(f'<s style="left: {8000 / whole:.2f}%; width: {reach:.2f}%"></s>') == many
    assert page.count(f'<div class="gauge {state}"') == many


def test_test_data_are_measured_for_the_page(result, tmp_path):
    pytest.importorskip("hls4ml")
    rng = np.random.default_rng(8)
    X = rng.normal(size=(300, 8)).astype("float32")
    y = X[:, :3].argmax(axis=1)
    path = result.write_report(tmp_path / "page.html", test=(X, y), classes=("<u>", "d", "s"))
    page, value = path.read_text(), result.evaluate(X, y)["accuracy"]
    error = np.sqrt(value * (1 - value) / len(X))
    for part in (
        "On test data",
        "accuracy on 300 test samples",
        f"{value:.3f} ± {error:.3f}",
        "&lt;u&gt;",
    ):
        assert part in page, part
    with pytest.raises(InvalidInputError, match=r"test must be \(X, y\)"):
        result.write_report(test=X)
    kept = result.directory / PERFORMANCE
    kept.write_text("{}")
    with pytest.raises(RunDirectoryError, match="is not what a result is worth on test data"):
        read_run(result.directory)
    kept.unlink()


def test_the_same_run_gives_the_same_page(result):
    finished = read_run(result.directory)
    assert render_page(finished) == render_page(finished)


def test_the_outcome_of_verification_is_told(result):
    pytest.importorskip("hls4ml")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    page = render_page(read_run(result.directory))
    assert "not verified yet" in page
    found = result.verify(compile=False)
    page = render_page(read_run(result.directory))
    assert "not verified yet" not in page and str(found).splitlines()[0] in page


def test_the_verilog_of_a_network_is_told_with_its_synthesis(result):
    finished = read_run(result.directory)
    design = {"latency": 7, "lut": 1_234, "lut_bars": [1_012, 1_382], "flip_flops": 900}
    cells = {"lut": 1_301, "ff": 888, "dsp": 0}
    rtl = {"design": design, "samples": 500, "agrees": True, "cells": cells, "tool": "Yosys 0.23"}
    told = {"passed": True, "text": "as it was", "rtl": rtl}
    page = render_page(dataclasses.replace(finished, verification=told))
    for part in ("As Verilog", "every word agrees", "1,012 to 1,382", "1,301", "Yosys 0.23"):
        assert part in page, part
    rtl["cells"] = None  # no synthesis tool
    assert "1,012" not in render_page(dataclasses.replace(finished, verification=told))


def test_the_former_name_of_a_finished_run_is_deprecated():
    from fabricfit import reporting

    with pytest.deprecated_call(match="FinishedRun"):
        assert reporting.Story is reporting.FinishedRun


def test_maps_tell_kept_zero_and_shared_weights_apart(result):
    maps = read_run(result.directory).maps
    for name, kernel in (("fc->1", 0), ("fc2", 1)):
        weights = result.model.layers[kernel].get_weights()[0]
        np.testing.assert_array_equal(maps[name] == 1, weights == 0)
        shared = np.array([[(row == w).sum() > 1 and w != 0 for w in row] for row in weights])
        np.testing.assert_array_equal(maps[name] == 2, shared)


@pytest.mark.parametrize("figure", ["front", "layers", "groups"])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_figures_are_drawn_by_one_call(result, figure, ending, tmp_path):
    path = result.plot(tmp_path / f"figure.{ending}", figure)
    start = path.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") or b"<svg" in path.read_bytes()[:1000]
    assert path.stat().st_size > 2000


def test_tables_are_frames(result):
    pytest.importorskip("pandas")
    layers, levels = result.report.layers_frame(), result.report.levels_frame()
    named = layers[layers.weights > 0]
    assert list(named.layer)[:2] == ["fc->1", "fc2"]
    assert layers["DSP after"].sum() == result.report.resources_after[0]
    assert len(levels) == len(result.history) and levels.accuracy.notna().all()


def test_the_result_tells_its_best_level_and_front(result):
    assert result.best.sparsity == result.report.sparsity == 1.0
    assert result.best in result.pareto
    found = [(-each.metric, *each.utilization) for each in result.pareto]
    for one in found:
        assert not any(o != one and all(np.less_equal(o, one)) for o in found)
    assert result.config["model"] == "tagger->co" and result.config["seed"] == 0
    assert result.report() == str(result.report)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield found
        found.close()


@pytest.fixture(scope="module")
def page_file(result):
    return write_page(read_run(result.directory))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_is_shown_without_an_error_and_without_a_network(
    browser, page_file, scheme, width
):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert not told
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)"
    )
    paper, ink = (
        page.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("backgroundColor", "color")
    )
    assert (brightness(paper) > 200) == (scheme == "light")
    assert abs(brightness(paper) - brightness(ink)) > 150
    drawn = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert abs(brightness(paper) - brightness(drawn)) > 150
    context.close()


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    return write_page(make_large_run(folder), folder / "report.html")


CUT = """[...document.querySelectorAll('table, pre, svg, img, dl, p, h1, h3')].filter(
    each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
        || each.closest('.scroll, pre')?.scrollWidth > each.closest('.scroll, pre')?.clientWidth + 1
).map(each => each.outerHTML.slice(0, 200))"""


def test_the_page_of_a_large_run_is_small_and_cuts_nothing(browser, large_file):
    assert large_file.stat().st_size < 5e6
    for width, media in ((1280, "screen"), (703, "print")):  # 703: A4 between its margins
        context = browser.new_context(viewport={"width": width, "height": 800})
        page = context.new_page()
        page.emulate_media(media=media)
        page.goto(large_file.as_uri())
        assert page.evaluate(CUT) == []
        context.close()


def test_names_are_shown_as_text(browser, large_file):
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    told = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(large_file.as_uri())
    assert not told and page.evaluate("document.documentElement.scrollWidth") <= 360
    text = page.evaluate("document.body.textContent")
    drawn = page.evaluate("[...document.querySelectorAll('svg')].map(e => e.textContent).join()")
    for name in (NAMES[0], r"<b>&\n\x07", NAMES[2]):
        assert name in text and name in drawn
    assert "$c_0$" in drawn and page.locator("td b").count() == 0
    context.close()


def test_marks_tell_their_numbers(browser, large_file):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(large_file.as_uri())
    tip = page.locator("#tip")

    def point_at(mark):
        mark.scroll_into_view_if_needed()
        page.wait_for_timeout(100)  # scrolling hides the tip
        mark.hover()
        assert tip.is_visible()
        return tip.text_content()

    said = point_at(page.locator(".mark[aria-label^='50.0% saved, 600,000 DSP']"))
    assert said == "50.0% saved, 600,000 DSP, accuracy 0.65; accepted level"
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert "are taken for" in point_at(page.locator(".confusion td").first)
    assert page.locator("title").count() == 1  # marks have no titles beside their labels
    context.close()


def brightness(color):
    return float(np.mean([int(part) for part in re.findall(r"\d+", color)[:3]]))


def test_the_configuration_is_copied(browser, page_file, result):
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.click("#copy")
    page.wait_for_function("document.getElementById('copy').textContent == 'Copied'")
    shown = page.text_content("#config")
    assert json.loads(shown) == json.loads(json.dumps(result.hls_config))
    context.close()


def test_the_page_prints(browser, page_file, tmp_path):
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    assert not page.is_visible("#copy")
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
    context.close()
