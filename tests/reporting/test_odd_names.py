"""Names of layers, metrics, resources and files are texts: whatever is in them is shown, and does nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re

import pytest
from rich.console import Console

from fabricfit.reporting import read_run, render_page
from fabricfit.reporting.figures import FIGURES, draw_formats, draw_sweep_front
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run import Status, save_state
from fabricfit.run.journal import Journal
from fabricfit.run.progress import draw_status, render_html, show_messages
from tests.marks import ON_ONE_BACKEND, first_quick
from tests.reporting import large_runs

pytestmark = ON_ONE_BACKEND

ODD_NAMES = {
    "mathematics": "a$^$b_{$",
    "a page": "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}{% x %}",
    "escapes": "\x1b[2J\x1b]0;title\x07\r\n\tx\x08\x7f\x9b31m\0",
    "an open brace": r"$\frac{$ \alpha \\",
    "an underline first": "_$_",
    "markup of terminals": "[bold red]x[/] [link=http://x]y[/link] [/nothing]",
    "writing turned round": "\u202eabc\u2066\u200f\u061c",
    "long": "layer_" * 60,
    "very long": "x" * 5000,
    "other scripts": "μ-Ωσ 层 🚀 é",
    "half of a character": "a\ud800b",
    "nothing": "",
    "separators": "\u241f\u2028\ufeff",
}
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200f\u202a-\u202e\u2066-\u2069\ud800]")


def _rename(value, name):
    """Return values whose texts are all a name, but those of a vocabulary."""
    if isinstance(value, dict):
        free = {"outcome", "strategy"}
        return {
            key: _rename(each, name) if key != "name" or "cycles" not in value else each
            for key, each in value.items()
            if key not in free
        } | {key: value[key] for key in free & value.keys()}
    if isinstance(value, list):
        return [_rename(each, name) for each in value]
    return name if isinstance(value, str) else value


DRAWN = pytest.mark.parametrize("name", first_quick(ODD_NAMES.values(), 2), ids=list(ODD_NAMES))
PRINTED = pytest.mark.parametrize("name", ODD_NAMES.values(), ids=list(ODD_NAMES))


@pytest.fixture
def run(name, tmp_path, monkeypatch):
    """A run in which everything is called so."""
    monkeypatch.setattr(large_runs, "UNITS", ("DSP", "LUT"))
    monkeypatch.setattr(large_runs, "SIZES", ((8, 6), (5, 4), (3, 2)))
    finished = large_runs.make_large_run(tmp_path)
    values = _rename(finished.report.to_dict(), name)
    values["units"] = [f"{name}1", f"{name}2"]
    report = OptimizationReport.from_dict(values)
    simple = dataclasses.replace(finished.simple, units=report.units, metric_name=name)
    verification = {"passed": True, "text": name, "rtl": None}
    manifest = {**finished.manifest, "model": name, "settings": {name: name}}
    maps = dict(zip((name, f"{name}2", f"{name}3"), finished.maps.values(), strict=True))
    return dataclasses.replace(
        finished,
        report=report,
        simple=simple,
        verification=verification,
        manifest=manifest,
        maps=maps,
    )


@DRAWN
def test_pages_show_odd_names_as_text(run, name):
    page = render_page(run)
    page.encode()
    assert not HARMFUL.search(page.replace("\t", ""))
    assert "<script>alert" not in page and "<img src=x" not in page and "49" not in page[:300]
    assert page.count("<script>") == 1
    if name == ODD_NAMES["a page"]:
        assert page.count("&lt;script&gt;alert(1)") > 10


@DRAWN
def test_figures_show_odd_names_as_text(run, name):
    figures = [draw(run.report, run.maps) for draw in FIGURES.values()]
    figures += [draw_formats(run.report), draw_sweep_front([(0.5, 0.7, True, True)], name)]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png", dpi=40)
        held = io.StringIO()
        figure.savefig(held, format="svg")
        assert not HARMFUL.search(held.getvalue())


@PRINTED
def test_terminals_show_odd_names_as_text(run, name):
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    console.print(run.report)
    console.print(run.performance)
    shown = console.file.getvalue()
    assert not HARMFUL.search(shown) and not HARMFUL.search(str(run.report))
    if "[bold red]" in name:
        assert "[bold red]" in shown
    assert "<script>alert" not in run.report._repr_html_()


def _status(name):
    level = {
        "sparsity": 0.5, "accepted": False, "metric": 0.4, "utilization": [1.0, 2.0], "epochs": 1,
        "seconds": 1.0, "note": name,
    }  # fmt: skip
    return Status(
        stage="level 1", metric_name=name, baseline=0.5, units=(f"{name}1", f"{name}2"),
        before=(2.0, 3.0), used=(1.0, 2.0), levels=[level],
    )  # fmt: skip


@PRINTED
def test_progress_shows_odd_names_as_text(name, capfd, monkeypatch):
    drawn = draw_status(_status(name), 0.0, name)
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    console.print(drawn)
    assert not HARMFUL.search(console.file.getvalue())
    assert "<script>alert" not in render_html(drawn)
    logger = logging.getLogger("fabricfit.odd")
    monkeypatch.setattr(
        logger, "propagate", False
    )  # half a character cannot be sent between processes
    with show_messages(logger):
        logger.warning("layer %s is odd", name)
    said = capfd.readouterr().err
    assert "is odd" in said and not HARMFUL.search(said)


@PRINTED
def test_odd_names_come_back_from_files(name, tmp_path):
    if "\ud800" in name:
        pytest.skip("no file of a model can hold it")
    save_state(tmp_path / "x.npz", {name: {"a": name}})
    Journal(tmp_path / "j").append("settled", note=name)
    assert Journal(tmp_path / "j").records[0].data == {"note": name}


def test_a_run_of_odd_values_is_refused_by_the_name_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(large_runs, "UNITS", ("DSP", "LUT"))
    finished = large_runs.make_large_run(tmp_path)
    report = finished.report.to_dict()
    odd = {
        "report.json": {**report, "resources_after": [1e300, 2]},
        "manifest.json": {**finished.manifest, "begun": 2**63},
        "alternatives.json": {**finished.simple.to_dict(), "units": ["DSP", "FF"]},
        "verification.json": {"passed": 1, "text": "x"},
    }
    whole = {"report.json": report, "manifest.json": finished.manifest}
    for file, values in odd.items():
        for each, right in whole.items():
            (tmp_path / each).write_text(json.dumps(right))
        (tmp_path / file).write_text(json.dumps(values))
        with pytest.raises(OSError, match=f"{file} is "):
            read_run(tmp_path)
        (tmp_path / file).unlink()
