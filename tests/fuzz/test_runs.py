"""Changed files in the folder of a run: checkpoints, journals, manifests, reports."""

from __future__ import annotations

import json
import random
import zlib

import numpy as np
import pytest

from fabricfit.errors import RunDirectoryError
from fabricfit.reporting import read_run, render_page
from fabricfit.run import Journal, Recorder, RunDirectory, load_state, read_journal, save_state
from tests.fuzz.mutation import change_bytes, change_value, try_reader
from tests.reporting import large_runs
from tests.reporting.large_runs import make_large_run

pytestmark = pytest.mark.slow

EXAMPLES = 2000
"""Of each file that is read alone."""

PAGES = 100
"""Of each file of which a page is made, with all its figures."""

STATE = {
    "epoch": 3,
    1: {"weights": [np.arange(6.0).reshape(2, 3), np.zeros(0, "int8")], "name": "x", "none": None},
    "generator": {"state": 2**100, "list": [1, 2.5, [True, "a"]]},
}

EVENTS = [
    ("begun", {"environment": {"python": "3", "versions": {}}}),
    ("baseline", {"name": "accuracy", "metric": 0.5, "threshold": None, "increasing": True, "target": 1.0,
                  "units": ["DSP", "LUT"], "resources": [426.0, 9.0], "limits": [213, 5]}),
    ("searching", {"tuner": None, "epochs": 0}),
    ("level", {"sparsity": 0.5, "epochs": 2}),
    ("frozen", {"sparsity": 0.5, "resources": [322.0, 5.0]}),
    ("epoch", {"epoch": 0, "loss": 1.0, "metric": 0.5}),
    ("settled", {"sparsity": 0.5, "accepted": True, "metric": 0.5, "utilization": [2.0, 3.0], "epochs": 1,
                 "seconds": 2.4, "note": ""}),
    ("training", {"epochs": 3, "resources": [1.0, 2.0]}),
    ("epoch", {"epoch": 1, "loss": 1.0, "metric": 0.5, "cost": 2.0}),
    ("choosing", {"step": 1, "steps": 4}),
    ("finished", {"metric": 0.6, "resources": [1.0, 2.0]}),
]  # fmt: skip


def test_changed_checkpoints(tmp_path):
    path = tmp_path / "run-000001.npz"
    save_state(path, STATE)
    content = path.read_bytes()
    assert try_reader(lambda: load_state(path), path, "unchanged")
    for seed in range(EXAMPLES):
        path.write_bytes(change_bytes(content, random.Random(seed)))
        try_reader(lambda: load_state(path), path, f"seed {seed}")


def test_changed_structures_of_checkpoints(tmp_path):
    path = tmp_path / "run-000001.npz"
    save_state(path, STATE)
    with np.load(path) as held:
        arrays = dict(held)
    structure = json.loads(arrays["structure"].tobytes())
    for seed in range(EXAMPLES):
        changed = json.dumps(change_value(structure, random.Random(seed))).encode()
        np.savez(path, **{**arrays, "structure": np.frombuffer(changed, np.uint8)})
        try_reader(lambda: load_state(path), path, f"seed {seed}")


def _write_journal(path):
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for event, data in EVENTS:
        journal.append(event, **data)
    return path.read_bytes()


def test_changed_journals(tmp_path):
    path = tmp_path / "journal.jsonl"
    content = _write_journal(path)
    assert len(read_journal(path)[0]) == len(EVENTS)
    for seed in range(EXAMPLES):
        path.write_bytes(change_bytes(content, random.Random(seed)))
        try_reader(lambda: read_journal(path), path, f"seed {seed}")
        try_reader(lambda: Journal(path).append("more"), path, f"seed {seed}")
        assert read_journal(path)[0][-1].event == "more"


def _change_record(content, draw):
    """Return a journal with another record, whose checksum is right."""
    lines = content.splitlines()
    place = draw.randrange(len(lines))
    body = json.dumps(change_value(json.loads(lines[place].partition(b" ")[2]), draw)).encode()
    lines[place] = b"%08x " % zlib.crc32(body) + body
    return b"\n".join(lines) + b"\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a finished run, with everything that there may be in it."""
    monkeypatch.setattr(large_runs, "UNITS", ("DSP", "LUT"))  # pages of fewer figures
    monkeypatch.setattr(large_runs, "SIZES", ((8, 6), (5, 4), (3, 2)))
    finished = make_large_run(tmp_path)
    files = {
        "report.json": finished.report.to_dict(),
        "manifest.json": finished.manifest,
        "test.json": finished.performance.to_dict(),
        "alternatives.json": finished.simple.to_dict(),
        "hls_config.json": finished.hls_config,
        "verification.json": {
            "passed": True, "text": "it passed",
            "rtl": {"agrees": True, "samples": 9, "tool": "Yosys", "cells": {"lut": 5, "ff": 6, "dsp": 0},
                    "design": {"latency": 3, "lut": 5, "lut_bars": [1, 9], "flip_flops": 6}},
        },
    }  # fmt: skip
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    save_state(
        tmp_path / "groups.npz", {"fc": np.zeros((4, 3), np.int8), "$x": np.ones((1, 1), int)}
    )
    _write_journal(tmp_path / "journal.jsonl")
    return tmp_path


def _make_page(folder):
    page = render_page(read_run(folder))
    assert "</html>" in page and "\x1b" not in page


def test_journals_whose_records_are_odd(run):
    path = run / "journal.jsonl"
    content = path.read_bytes()
    for seed in range(EXAMPLES):
        path.write_bytes(_change_record(content, random.Random(seed)))
        try_reader(lambda: read_run(run), path, f"seed {seed}")


@pytest.mark.parametrize(
    "name",
    ["report.json", "manifest.json", "test.json", "alternatives.json", "verification.json"],
)
def test_pages_of_changed_values(run, name):
    values = json.loads((run / name).read_text())
    assert try_reader(lambda: _make_page(run), None, "unchanged")
    for seed in range(PAGES):
        (run / name).write_text(json.dumps(change_value(values, random.Random(seed))))
        try_reader(lambda: _make_page(run), run / name, f"seed {seed}")


@pytest.mark.parametrize("name", ["report.json", "manifest.json", "groups.npz", "hls_config.json"])
def test_runs_of_changed_bytes(run, name):
    content = (run / name).read_bytes()
    for seed in range(EXAMPLES):
        (run / name).write_bytes(change_bytes(content, random.Random(seed)))
        try_reader(lambda: read_run(run), None, f"seed {seed}")


def test_manifests_of_runs_that_are_resumed(tmp_path):
    manifest = {"fingerprint": {"the model": "abc", "the goal": "def"}, "seed": 0}
    Recorder(RunDirectory.existing(tmp_path), manifest, checkpoint_seconds=0.0).close()
    path = tmp_path / "manifest.json"
    values, content = json.loads(path.read_text()), path.read_bytes()

    def resume():
        Recorder(RunDirectory.existing(tmp_path), manifest, checkpoint_seconds=0.0).close()

    for seed in range(EXAMPLES):
        draw = random.Random(seed)
        changed = json.dumps(change_value(values, draw)).encode()
        path.write_bytes(changed if seed % 2 else change_bytes(content, draw))
        try_reader(resume, path, f"seed {seed}")
        (tmp_path / "journal.jsonl").unlink(missing_ok=True)
    with pytest.raises(RunDirectoryError):
        path.write_text("[]")
        resume()
