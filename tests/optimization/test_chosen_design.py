"""Fits of a model and data alone: the design is chosen, pruned within, and built as it says."""

from __future__ import annotations

import json
import logging

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.network.reader import as_network
from fabricfit.optimization.chosen_design import DESIGNS, why_not_unrolled
from tests.common import L, blobs, mlp
from tests.marks import ON_ONE_BACKEND

pytest.importorskip("hls4ml", exc_type=ImportError)
pytestmark = ON_ONE_BACKEND


@pytest.fixture(scope="module")
def data():
    X, y = blobs(384)
    return (X[:256], y[:256]), (X[256:], y[256:])


@pytest.fixture(scope="module")
def model(data):
    found = mlp(hidden=16)
    found.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    found.fit(*data[0], epochs=25, verbose=0)
    return found


def fit(model, data, budget, directory, **options):
    return fabricfit.fit(
        model,
        *data,
        budget,
        precision="given",
        epochs=3,
        tuner=None,
        directory=directory,
        **{"designs": 1, **options},
    )


def test_a_design_is_chosen_within_all_limits(model, data, tmp_path):
    budget = Budget(dsp=60, lut=3000, bram18=20, latency="100ns", interval="20ns", clock="200MHz")
    result = fit(model, data, budget, tmp_path)
    assert result.report.fits and result.report.metric_after >= result.report.metric_before - 0.05
    used = fabricfit.estimate(result.model, result.hls_config, budget=budget)
    assert used.fits and used.latency_ns <= 100 and used.interval_ns <= 20
    written = json.loads((result.directory / DESIGNS).read_text())
    assert written["designs"] and written["clock_ns"] == 5
    found = fabricfit.verify(result.model, result.hls_config, data[1][0][:50])
    assert found.passed, str(found)


def test_a_tight_budget_is_met_by_pruning(model, data, tmp_path):
    result = fit(model, data, Budget(dsp=8, lut=900, bram18=9, latency="100ns"), tmp_path)
    assert result.report.fits
    layers = result.report.layers
    assert sum(each.nonzeros_after for each in layers) < sum(each.weights for each in layers)


def test_what_is_stated_is_kept(model, data, tmp_path):
    name = model.layers[0].name
    stated = {"ReuseFactor": 3, "Precision": {"weight": "fixed<11,3>"}}
    config = {"LayerName": {name: stated}, "ClockPeriod": 4, "IOType": "io_parallel"}
    result = fit(model, data, Budget(dsp=400, lut=60_000), tmp_path, hls_config=config)
    built = result.hls_config["LayerName"][name]
    assert built["Strategy"].startswith("Resource") and built["ReuseFactor"] == 3
    assert built["Precision"]["weight"] == "fixed<11,3>"
    assert "4 ns" in result.report.counted


def test_designs_compete(model, data, tmp_path):
    budget = Budget(dsp=60, lut=3000, bram18=20, latency="100ns", clock="200MHz")
    result = fabricfit.fit(
        model, *data, budget, epochs=2, tuner=None, directory=tmp_path, designs=3
    )
    tried = result.report.alternatives
    assert 2 <= len(tried) <= 3 and tried[0].is_chosen and tried[0].epochs == 1
    assert tried[0].metric == result.report.metric_after
    assert tried[0].resources == result.report.resources_after
    assert sum(each.epochs == 1 for each in tried) == 2
    assert any(each.name == "trained precision" for each in tried)
    assert all(each.outcome for each in tried)
    best = max(each.metric for each in tried if each.epochs == 1)
    error = max((each.error for each in tried if each.error > 0), default=0.0)
    assert result.report.fits and result.report.metric_after >= best - error
    page = result.write_report().read_text()
    assert "Designs that were tried" in page and "trained precision" in page
    result.plot(tmp_path / "designs.svg", "alternatives")


def test_a_design_that_fits_is_fine_tuned_and_never_made_worse(model, data, tmp_path):
    result = fit(model, data, Budget(lut=10**6, dsp=10**4, bram18=10**4), tmp_path)
    report = result.report
    assert report.fits and report.metric_after >= report.metric_before
    (level,) = report.levels
    assert level.sparsity == 1 and 1 <= level.epochs <= 15
    config = dict(result.hls_config)
    again = fabricfit.fit(
        model, *data, Budget(lut=10**6, dsp=10**4), hls_config=config, precision="given",
        epochs=3, tuner=None, directory=tmp_path / "as it is",
    )  # fmt: skip
    assert not again.report.levels and again.report.metric_after == again.report.metric_before


def test_the_impossible_is_refused_before_anything_is_written(model, data, tmp_path):
    with pytest.raises(InfeasibleError, match="no design takes a sample every 1 ns: layer"):
        fit(model, data, Budget(lut=10**6, interval=1), tmp_path)
    with pytest.raises(InvalidInputError, match="needs hls_config, the design that it is relative"):
        fit(model, data, Budget.relative(lut=0.5), tmp_path)
    assert not list(tmp_path.iterdir())


def test_networks_too_large_for_adders_are_designed(data, tmp_path, caplog):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 8, 8, 1)).astype("float32"), rng.integers(0, 3, 64)
    layers = [L.Conv2D(4, 3, activation="relu", name="conv"), L.Flatten(), L.Dense(3, name="out")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    network = as_network(model)
    assert not why_not_unrolled(network, {}, Budget(dsp=10))
    assert not why_not_unrolled(network, {}, Budget(lut=2000))
    assert "its 468 products of weights" in why_not_unrolled(network, {}, Budget(lut=20))
    named = {"LayerName": {"conv": {"Strategy": "resource"}}}
    assert "'conv' is to be built with resource" in why_not_unrolled(
        network, named, Budget(lut=2000)
    )
    config = {"LayerName": {"conv": {"Strategy": "Resource", "ReuseFactor": 9}}}
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = fabricfit.fit(
            model, (X, y), (X, y), Budget(dsp=50, lut=9000, bram18=50), hls_config=config,
            epochs=2, tuner=None, directory=tmp_path, designs=1,
        )  # fmt: skip
    assert "calibrated, not trained: layer 'conv'" in caplog.text
    assert result.report.fits and result.hls_config["IOType"] in ("io_parallel", "io_stream")
