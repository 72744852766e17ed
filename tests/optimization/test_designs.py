"""One number for one design: estimates, budgets and reports count what hls4ml is to build."""

import json

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.description.skip_reasons import SkipReason
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run.files import HLS_CONFIG
from tests.common import L, blobs, quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.fixture(scope="module")
def data():
    X, y = blobs(256)
    return (X[:192], y[:192]), (X[192:], y[192:])


def config(reuse_factor=2, strategy="Resource", **sections):
    section = {"Precision": "fixed<16,6>", "ReuseFactor": reuse_factor, "Strategy": strategy}
    return {"Model": section, **sections}


def network(seed=0):
    """With a normalization that can be folded, one that cannot, and a layer that is called twice."""
    keras.utils.set_random_seed(seed)
    shared, start = L.Dense(8, activation="relu", name="shared"), keras.Input((6,), name="start")
    x = L.BatchNormalization(name="norm")(L.Dense(8, name="first")(start))
    x = shared(shared(L.ReLU(name="relu")(x)))
    x = L.Activation("tanh", name="tanh")(L.BatchNormalization(name="kept")(x))
    return keras.Model(start, L.Dense(3, activation="softmax", name="out")(x))


def assert_same(report, which, estimate):
    for unit, amount in zip(report.units, which, strict=True):
        assert estimate.resources[unit.lower()].value == pytest.approx(amount)


@pytest.mark.parametrize(
    ("hls_config", "budget"),
    [
        (config(), Budget.relative(dsp=0.6)),
        (config(), Budget.relative(dsp=0.6, lut=0.9)),
        (config(4, "ResourceUnrolled"), Budget.relative(dsp=0.5, lut=0.8)),
        (config(1, "Latency"), Budget.relative(dsp=0.5)),
    ],
)
def test_before_and_after_are_what_an_estimate_says(data, tmp_path, hls_config, budget):
    model = network()
    before = fabricfit.estimate(model, hls_config)
    result = fabricfit.fit(model, *data, budget, quick_settings(tmp_path), hls_config=hls_config)
    report = result.report
    assert report.fits
    assert_same(report, report.resources_before, before)
    assert_same(report, report.resources_after, fabricfit.estimate(result.model, result.hls_config))
    limits = budget.limits({name: before.resources[name].value for name in budget.resources})
    assert report.budget == pytest.approx(tuple(limits[name] for name in budget.resources))
    for which in ("resources_before", "resources_after"):
        layers = np.sum([getattr(layer, which) for layer in report.layers], axis=0)
        np.testing.assert_allclose(layers, getattr(report, which))
    written = json.loads((result.directory / HLS_CONFIG).read_text())
    assert written == result.hls_config
    assert OptimizationReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_what_is_built_is_said(data, tmp_path):
    model = network()
    result = fabricfit.fit(
        model, *data, Budget.relative(dsp=0.5), quick_settings(tmp_path), hls_config=config()
    )
    layers = {layer.name: layer for layer in result.report.layers}
    assert layers["shared"].calls == 2 and "2 calls" in layers["shared"].remark
    assert layers["norm"].skip_reason is SkipReason.FOLDED
    assert "norm" not in [layer.name for layer in result.model.layers]
    for name in ("first", "shared", "out"):
        stated = result.hls_config["LayerName"][name]
        built = f"{stated['Strategy']}, RF {stated['ReuseFactor']}"
        assert layers[name].built_before == "Resource, RF 2"
        assert layers[name].built_after == built
    changed = [layer for layer in layers.values() if layer.built_before != layer.built_after]
    assert changed
    assert all(
        "ResourceUnrolled, RF 2 instead of Resource, RF 2" in each.remark for each in changed
    )


def test_a_layer_that_loses_nothing_stays_with_resource(data, tmp_path):
    """ResourceUnrolled takes more LUTs, and pays only where it leaves multipliers out."""
    model = network()
    plain = fabricfit.estimate(model, config())
    unrolled = fabricfit.estimate(model, config(2, "ResourceUnrolled"))
    lut = plain.resources["lut"].value * 1.02
    assert unrolled.resources["lut"].value > lut
    result = fabricfit.fit(
        model, *data, Budget(dsp=10_000, lut=lut), quick_settings(tmp_path), hls_config=config()
    )
    assert result.history == ()  # it fits as it is
    sections = result.hls_config["LayerName"]
    assert {sections[n]["Strategy"] for n in ("first", "shared", "shared_0", "out")} == {"Resource"}


def test_verify_counts_what_the_report_says(data, tmp_path):
    pytest.importorskip("hls4ml")
    model = network()
    result = fabricfit.fit(
        model, *data, Budget.relative(dsp=0.6), quick_settings(tmp_path), hls_config=config()
    )
    found = fabricfit.verify(result.model, result.hls_config, compile=False)
    counted = sum(layer.multipliers for layer in found.layers)
    kernels = ("first", "shared", "out")
    reported = [layer for layer in result.report.layers if layer.name in kernels]
    softmax = 3  # products of the last layer's activation
    assert counted + softmax == sum(layer.resources_after[0] for layer in reported)
