"""Runs with deadlines: refused before anything is written, or reported with what the design needs."""

from __future__ import annotations

import json
import logging

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.description.verdicts import Verdict
from fabricfit.errors import InfeasibleError, InvalidInputError
from tests.common import quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers


def configure(reuse=8, strategy="Resource", **sections):
    model = {"Precision": "fixed<16,6>", "ReuseFactor": reuse, "Strategy": strategy}
    return {"Model": model, **sections}


@pytest.fixture
def settings(tmp_path):
    return quick_settings(
        tmp_path / "runs", batch_size=16, epochs=1, rewinding_epochs=0,
        loss_fn="mse", validation_metric="mse", increasing=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 16)).astype("float32"), rng.normal(size=(32, 2)).astype("float32")


@pytest.fixture(scope="module")
def model():
    layers = [keras.Input((16,)), L.Dense(24, name="slow"), L.Dense(2, name="last")]
    return keras.Sequential(layers)


@pytest.fixture
def run(model, samples, settings):
    def fit(config, budget, **options):
        return fabricfit.fit(
            model, samples, samples, budget, settings, hls_config=config, **options
        )

    return fit


def test_an_impossible_deadline_is_refused_before_anything_is_written(run, tmp_path):
    config = configure(8, LayerName={"slow": {"ReuseFactor": 48}})
    with pytest.raises(InfeasibleError) as caught:
        run(config, Budget(dsp=100, interval="100ns"))
    said = str(caught.value)
    for part in (
        "Budget(dsp=100, interval='100ns') cannot be met",
        "interval: 100 ns are allowed and the design needs 240 ns (48 cycles of 5 ns)",
        "The slowest layer is 'slow' (Resource, RF 48): 48 cycles.",
        "With a reuse factor of 1 in every layer it would be 10 ns (2 cycles of 5 ns)",
    ):
        assert part in said, said
    with pytest.raises(InfeasibleError, match=r"latency: 4 ns.*Even with a reuse factor of 1"):
        run(config, Budget(dsp=100, latency="4ns"))
    assert not (tmp_path / "runs").exists()


def test_no_reuse_factor_is_named_where_none_helps(run):
    with pytest.raises(InfeasibleError, match="No smaller reuse factor helps"):
        run(configure(1, "Latency"), Budget(dsp=100, interval="3ns"))


def test_the_upper_end_counts_with_a_margin(run, model, tmp_path):
    config = configure()
    latency = fabricfit.estimate(model, config).latency
    assert latency.high > latency.value
    between = Budget(dsp=10**4, latency=5 * (latency.value + latency.high) / 2)
    report = run(config, between).report
    assert report.verdict is Verdict.MAY_FIT and report.fits
    assert f"(up to {5 * latency.high:,.0f} ns)" in str(report)
    with pytest.raises(InfeasibleError, match=r"by its error bar \(margin=1\)"):
        run(config, between, margin=1)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_run_reports_the_time_of_both_designs(run, model):
    config, budget = configure(), Budget(dsp=30, latency="1us", interval="40ns", clock="200MHz")
    result = run(config, budget)
    before = fabricfit.estimate(model, config, budget=budget)
    after = fabricfit.estimate(result.model, result.hls_config, budget=budget)
    for found, old, new in zip(result.report.timing, before.timings, after.timings, strict=True):
        assert (found.before, found.cycles, found.highest) == (old.cycles, new.cycles, new.highest)
        assert found.deadline_ns == budget.deadlines[found.name]
    assert result.report.verdict is after.verdict
    assert "interval: 8 cycles before, 8 after, 40 ns (up to 80 ns) of 40 ns: may fit" in str(
        result.report
    )
    written = json.loads((result.directory / "report.json").read_text())
    assert written == json.loads(json.dumps(result.report.to_dict()))
    assert written["timing"][1]["verdict"] == "may fit"


def test_what_only_pruning_may_reach_is_tried_with_a_warning(run, model, caplog):
    config = configure(1, "Latency", Backend="Vitis", ClockPeriod=1)
    budget = Budget.relative(dsp=0.5, latency=fabricfit.estimate(model, config).latency_ns - 1)
    with caplog.at_level(logging.WARNING, "fabricfit"):
        report = run(config, budget).report
    assert "only if pruning makes sums shorter" in caplog.text
    assert report.timing[0].before > report.timing[0].deadline_ns


@pytest.mark.parametrize("precision", ["given", "trained"])
def test_deadlines_alone_leave_nothing_to_choose(run, precision, tmp_path):
    if precision == "trained":
        pytest.importorskip("alkaid.trace", exc_type=ImportError)
    config = {} if precision == "trained" else configure()
    with pytest.raises(InvalidInputError, match="has deadlines alone, and no resource"):
        run(config, Budget(latency="1us"), precision=precision)
    assert not (tmp_path / "runs").exists()


def test_trained_precision_is_refused_and_reported_alike(run, tmp_path):
    pytest.importorskip("alkaid.trace", exc_type=ImportError)
    with pytest.raises(InfeasibleError, match=r"cycles of 4 ns.*No smaller reuse factor helps"):
        run({}, Budget(lut=10**5, latency="1ns"), precision="trained", clock_ns=4)
    assert not (tmp_path / "runs").exists()
