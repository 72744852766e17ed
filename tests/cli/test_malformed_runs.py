"""Damaged folders of runs: refused with exit code 2 and a message, no traceback, no changed file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fabricfit.cli import main
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.fixture(scope="module")
def finished(job, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    assert main(["optimize", str(job.folder / "run.yaml"), "--output", str(place), "--quiet"]) == 0
    return place / "run-0001"


FILES = ["manifest.json", "report.json"]
DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "a list": lambda path: path.write_text("[]"),
    "no names": lambda path: path.write_text("{}"),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "null": lambda path: path.write_text("null"),
    "nested": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_damaged_runs_are_not_reported(refused, finished, name, damage):
    shutil.copytree(finished, "run")
    Path("run/report.html").unlink()
    DAMAGE[damage](Path("run") / name)
    refused("report", "run")
    assert not Path("run/report.html").exists()


@pytest.mark.parametrize("damage", ["empty", "torn", "a list", "bytes"])
@pytest.mark.parametrize(
    "name", ["groups.npz", "hls_config.json", "verification.json", "test.json", "alternatives.json"]
)
def test_runs_with_other_damaged_files_are_not_reported(refused, finished, name, damage):
    shutil.copytree(finished, "run")
    path = Path("run") / name
    if not path.exists():
        path.write_text(json.dumps({"passed": True, "text": "x" * 99}))
    DAMAGE[damage](path)
    refused("report", "run")


def test_values_of_a_wrong_kind_in_a_report_are_refused(refused, finished):
    shutil.copytree(finished, "run")
    path = Path("run/report.json")
    whole = json.loads(path.read_text())
    for name in whole:
        for value in ("x", [1], {"a": 1}, -1):
            if name in ("metric_name", "derivatives") or value == whole[name]:
                continue
            path.write_text(json.dumps({**whole, name: value}))
            code = main(["report", "run"])
            assert code in (0, 2), (name, value)


@pytest.mark.parametrize("damage", ["empty", "torn", "a list", "bytes", "no names", "null"])
@pytest.mark.parametrize("name", ["manifest.json", "config.yaml"])
def test_damaged_runs_are_not_resumed(refused, finished, name, damage):
    shutil.copytree(finished, "run")
    DAMAGE[damage](Path("run") / name)
    if (name, damage) == ("config.yaml", "torn"):
        Path("run/config.yaml").write_text("model: [")
    refused("resume", "run", "--quiet")


@pytest.mark.parametrize("damage", ["empty", "torn", "bytes", "gone"])
def test_a_damaged_journal_costs_what_it_does_not_tell_and_no_more(
    job, finished, tmp_path, damage, capfd
):
    """What is whole of it serves; the run ends as it did."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    expected = json.loads((run / "report.json").read_text())
    DAMAGE[damage](run / "journal.jsonl")
    assert main(["resume", str(run), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["report"]
    assert found["metric_after"] == expected["metric_after"]
    assert found["resources_after"] == expected["resources_after"]


def test_what_is_no_run_is_refused(refused):
    Path("plain").mkdir()
    for command in ("resume", "report"):
        for name in ("plain", "missing", "data.npz"):
            refused(command, name)
