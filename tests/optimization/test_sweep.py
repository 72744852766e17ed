"""Families of budgets, here and on a cluster."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError
from fabricfit.keras import OptimizationSettings
from fabricfit.optimization.sweep import SweepPoint, SweepResult
from fabricfit.reporting.report import OptimizationReport
from tests.common import L, blobs, mlp
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, activation="relu", name="fc1"),
            L.Dense(8, activation="relu", name="fc2"),
            L.Dense(3, activation="softmax", name="out"),
        ],
        name="tagger",
    )


def sweep(directory, budgets, **options):
    data = blobs(256, 8)
    changes = options.pop("changes", {})
    settings = OptimizationSettings(
        **{
            "batch_size": 64, "epochs": 2, "optimizer": keras.optimizers.Adam(1e-3), "search": 3,
            "loss_fn": "sparse_categorical_crossentropy", "validation_metric": "accuracy", "increasing": True,
            "rtol": None, "directory": directory, **changes,
        }
    )  # fmt: skip
    return fabricfit.sweep(model(), CONFIG, budgets, data, data, settings, **options)


BUDGETS = [Budget.relative(dsp=part) for part in (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)]


def told(found):
    return [
        (point.report.resources_after, point.report.metric_after, point.error)
        for point in found.points
    ]


def test_every_budget_is_met_and_the_front_is_of_the_best(tmp_path):
    found = sweep(tmp_path, BUDGETS[::3])
    assert len(found.points) == 3
    for point in found.points:
        assert point.report.fits and point.load().name == "tagger"
    shares = [point.share for point in found.front]
    metrics = [point.report.metric_after for point in found.front]
    assert shares == sorted(shares) and metrics == sorted(metrics)
    assert found.knee in found.front
    assert found.plot(tmp_path / "front.svg").stat().st_size > 2000
    pytest.importorskip("pandas")
    assert found.to_frame().is_knee.sum() == 1


def test_a_budget_that_cannot_be_met_is_a_point_without_a_model(tmp_path):
    found = sweep(tmp_path, [Budget(dsp=200), Budget(dsp=0)], changes={"tuner": None})
    assert found.points[1].report is None and "at least" in found.points[1].error
    with pytest.raises(InvalidInputError, match="has no model"):
        found.points[1].load()
    assert found.front == (found.points[0],) and found.knee is found.points[0]


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    from fabricfit.optimization import sweep as sweeping

    whole = sweep(tmp_path / "whole", BUDGETS[::3])
    done, original = [], sweeping.fit

    def failing(*args, **options):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(sweeping, "fit", failing)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path / "broken", BUDGETS[::3])
    monkeypatch.undo()
    again = sweep(tmp_path / "broken", BUDGETS[::3], changes={"resume": True})
    assert told(again) == told(whole)
    assert len(list((tmp_path / "broken").glob("sweep-*"))) == 1
    assert len(list((tmp_path / "broken").glob("sweep-0001/budget-*/run-*"))) == 3


@pytest.mark.parametrize(
    ("budgets", "options", "error"),
    [
        ([], {}, InvalidInputError),
        ([1], {}, InvalidTypeError),
        ([Budget(dsp=1), Budget(lut=1)], {}, InvalidInputError),
        ([Budget(dsp=1)], {"backend": "slurm"}, InvalidInputError),
        ("pynq-z2", {}, InvalidTypeError),
        (["pynq"], {}, InvalidInputError),
        ([Budget(dsp=1)], {"epoch": 3}, InvalidTypeError),
        ([Budget(dsp=1)], {"granularity": "layer"}, InvalidInputError),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, budgets, options, error):
    with pytest.raises(error):
        sweep(tmp_path / "x", budgets, **options)
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def small():
    data = blobs(256)
    found = mlp(hidden=6)
    found.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    found.fit(*data, epochs=5, verbose=0)
    return found, data


def sweep_small(small, budgets, directory, **options):
    model, data = small
    options = {"epochs": 4, "tuner": None, "directory": directory, **options}
    return fabricfit.sweep(model, None, budgets, data, data, **options)


def test_each_board_has_a_design_of_its_own(small, tmp_path):
    pytest.importorskip("hls4ml", exc_type=ImportError)
    boards = ["pynq-z2", Budget.device("zcu104", 0.5)]  # one of them has UltraRAM
    found = sweep_small(small, boards, tmp_path, precision="given", epochs=2, designs=1)
    assert [point.budget.name for point in found.points] == ["PYNQ-Z2", "50% of ZCU104"]
    counted = [point.report.counted for point in found.points]
    assert "7series, 10 ns" in counted[0] and "ultrascale+" in counted[1]
    assert all(point.report.fits and point.load().built for point in found.points)
    assert found.knee in found.front
    assert [point.directory.parent.name for point in found.points] == ["design-1"] * 2
    folders = [point.directory.parents[2].name for point in found.points]
    assert folders == ["budget-01", "budget-02"]
    assert all((point.directory / "designs.json").exists() for point in found.points)


def test_trainings_are_shared_by_boards_of_the_same_kind_only(small, tmp_path, monkeypatch):
    pytest.importorskip("alkaid", exc_type=ImportError)
    from fabricfit.optimization import sweep as sweeping

    asked = []

    def fit(model, train, held, budget, **options):
        asked.append((budget.name, options["precision"], options.get("epochs")))
        raise InfeasibleError("not here")

    monkeypatch.setattr(sweeping, "fit", fit)
    clocks = [Budget(lut=900, clock="200MHz"), Budget(lut=900, clock="250MHz")]
    for budgets in (["pynq-z2", "zcu102"], clocks, [Budget(lut=900), Budget(lut=1)]):
        found = sweep_small(small, budgets, tmp_path)
        assert [point.error for point in found.points] == ["not here"] * 2
    assert asked[:2] == [("PYNQ-Z2", None, 4), ("ZCU102", None, 4)] and len(asked) == 6
    sweep_small(small, clocks, tmp_path, precision="trained")
    model, data = small
    options = {"precision": "given", "directory": tmp_path}
    fabricfit.sweep(model, {}, [Budget(lut=900)], data, data, **options)
    assert asked[6:] == [("", "trained", 4), ("", "trained", 4), ("", "given", 20)]
    same = [Budget.device("zcu102", part) for part in (0.5, 0.1)]
    shared = sweep_small(small, same, tmp_path / "shared")
    assert len(asked) == 9 and all(point.report.fits for point in shared.points)
    assert len(list(shared.directory.glob("training/*/journal.jsonl"))) == 1


@pytest.mark.slow
def test_precision_is_trained_on_a_cluster(small, tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("alkaid", exc_type=ImportError)
    boards = [Budget.device(name, 0.5) for name in ("pynq-z2", "zcu102")]
    options = {"precision": "trained", "overflow": "wrap", "epochs": 6}
    found = sweep_small(small, boards, tmp_path / "there", backend="ray", workers=2, **options)
    here = sweep_small(small, boards, tmp_path / "here", **options)
    assert told(found) == told(here)
    for point, other in zip(found.points, here.points, strict=True):
        config = (point.directory / "hls_config.json").read_text()
        assert point.report.fits and "WRAP" in config
        assert config == (other.directory / "hls_config.json").read_text()


def point(share, metric):
    report = OptimizationReport(
        ("DSP",), (), (100.0,), (100.0 * share,), "a", 1.0, metric, None, 1.0, ()
    )
    return SweepPoint(Budget(dsp=100 * share), Path(), report)


def test_the_knee_is_where_more_resources_bring_least():
    metrics = {0.1: 0.5, 0.2: 0.7, 0.3: 0.79, 0.5: 0.8, 0.9: 0.81, 0.95: 0.75}
    found = SweepResult(tuple(point(*each) for each in metrics.items()), True, Path())
    assert [each.share for each in found.front] == pytest.approx([0.1, 0.2, 0.3, 0.5, 0.9])
    assert found.knee.share == pytest.approx(0.3)
    falling = SweepResult(tuple(point(s, -m) for s, m in metrics.items()), False, Path())
    assert falling.knee.share == pytest.approx(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 2])
def test_a_cluster_finds_the_same_front_also_when_workers_are_killed(tmp_path, kills):
    pytest.importorskip("ray")
    expected = sweep(tmp_path / "here", BUDGETS)
    killed: list[int] = []
    stop = threading.Event()

    def kill_workers():
        while len(killed) < kills and not stop.wait(1.0):
            runs = list((tmp_path / "there").glob("sweep-*/budget-*/run-*/journal.jsonl"))
            if len(runs) > 2 + 2 * len(killed):
                victim = next((pid for pid in workers() if pid not in killed), None)
                if victim is not None:
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)
                    time.sleep(2)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        found = sweep(tmp_path / "there", BUDGETS, backend="ray", workers=2)
    finally:
        stop.set()
        killer.join()
    assert len(killed) == kills
    assert told(found) == told(expected)
    assert [p.budget for p in found.front] == [p.budget for p in expected.front]
    for a, b in zip(found.points, expected.points, strict=True):
        for x, y in zip(a.load().variables, b.load().variables, strict=True):
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (x, y)))


def workers():
    """Processes of Ray's workers that are at work on a run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::_do" in (folder / "cmdline").read_bytes():
                yield int(folder.name)
        except OSError:
            continue


def test_a_sweep_prints_a_row_for_each_budget():
    from tests.reporting.test_report import REPORT

    point = SweepPoint(Budget(dsp=150), Path("run"), REPORT)
    unmet = SweepPoint(Budget(dsp=1), None, None, "at least 4 DSP are needed")
    found = SweepResult((point, unmet), True, Path("runs"))
    lines = found._make_document().lines(80)
    assert max(map(len, lines)) <= 80 and "<table>" in found._repr_html_()
    text = " ".join(" ".join(lines).split())
    for part in (
        "Budget(dsp=150)",
        "0.64",
        "knee; fits",
        "at least 4 DSP are needed",
        "files: runs",
    ):
        assert part in text
