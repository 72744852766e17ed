"""Fitting by trained precision: from a model to the network that hls4ml builds, and what is said of it."""

from __future__ import annotations

import copy
import json
import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.firmware.emulation import emulate
from fabricfit.network.reader import read
from fabricfit.optimization.trained_fit import choose_precision
from tests.common import L, blobs, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

pytest.importorskip("alkaid.trace")
hls4ml = pytest.importorskip("hls4ml")


def settings(tmp_path, **changes):
    given = {
        "batch_size": 64,
        "epochs": 60,
        "optimizer": keras.optimizers.Adam(2e-3),
        "loss_fn": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": None,
        "directory": str(tmp_path / "runs"),
    }
    return fabricfit.OptimizationSettings(**{**given, **changes})


@pytest.fixture(scope="module")
def data():
    X, y = blobs(768)
    return (X[:512], y[:512]), (X[512:], y[512:])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(16, "relu", name="fc1"),
            L.Dense(8, "relu", name="fc2"),
            L.Dense(3, name="out"),
        ]
    )


@pytest.fixture(scope="module")
def tight(model, data, tmp_path_factory):
    place = tmp_path_factory.mktemp("tight")
    return fabricfit.fit(
        model, *data, Budget(lut=400), settings(place, epochs=80), precision="trained"
    )


def softmax_of(model):
    """A model whose last results go through a softmax, which needs a DSP for each of them."""
    start = keras.Input((6,))
    return keras.Model(start, L.Softmax(name="softmax")(model(start)))


def converted(result, place):
    config = copy.deepcopy(result.hls_config)  # hls4ml writes into it
    return hls4ml.converters.convert_from_keras_model(
        result.model, hls_config=config, output_dir=str(place), backend="Vitis"
    )


def test_the_network_is_within_the_budget_and_uses_most_of_it(tight, model, data):
    report = tight.report
    assert report.fits and report.units == ("LUT",)
    assert report.resources_after[0] <= 400 < report.resources_before[0]
    assert report.resources_after[0] > 200
    assert report.metric_after > 0.9
    assert {layer.name for layer in report.layers} == {"fc1", "fc2", "out"}
    assert sum(layer.resources_after[0] for layer in report.layers) == report.resources_after[0]


def test_the_reported_time_is_what_an_estimate_says(tight, model):
    found = fabricfit.estimate(tight.model, tight.hls_config)
    timing = tight.report.timing
    assert [each.cycles for each in timing] == [found.latency.value, found.interval.value]
    assert [each.highest for each in timing] == [found.latency.high, found.interval.high]
    assert all(each.before and each.deadline_ns is None for each in timing)


def test_the_reported_metric_is_that_of_the_network_in_hls4ml(tight, data, tmp_path):
    X, y = data[1]
    outputs = emulate(tight.model, converted(tight, tmp_path), X)
    logits = outputs[next(reversed(outputs))]
    accuracy = float(np.mean(logits.argmax(1) == y))
    assert tight.report.metric_after == pytest.approx(accuracy)
    found = tight.evaluate(X, y)
    assert found["accuracy"] == pytest.approx(accuracy)
    floats = keras.ops.convert_to_numpy(tight.model(X)).argmax(1)
    assert found["float_accuracy"] == pytest.approx(float(np.mean(floats == y)))
    weighed = tight.evaluate(X, y, (logits.argmax(1) == y).astype(float))
    assert weighed["accuracy"] == pytest.approx(1.0)


def test_the_caller_keeps_the_model_and_gets_a_plain_one(tight, model):
    assert [type(layer).__module__.split(".")[0] for layer in tight.model.layers] == ["keras"] * 3
    untouched = keras.models.clone_model(model)
    assert [w.shape for w in weights_of(untouched)] == [w.shape for w in weights_of(model)]
    saved = keras.saving.load_model(tight.directory / "model.keras", compile=False)
    for ours, theirs in zip(weights_of(tight.model), weights_of(saved), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert json.loads((tight.directory / "hls_config.json").read_text()) == tight.hls_config


def test_every_network_of_the_front_can_be_loaded(tight, data):
    costs = [point.resources[0] for point in tight.pareto]
    metrics = [point.metric for point in tight.pareto]
    assert costs == sorted(costs) and metrics == sorted(metrics)
    X, y = data[1]
    for point in (tight.pareto[0], tight.pareto[-1]):
        design = point.design
        found = fabricfit.firmware.evaluate(point.load(), design.hls_config, X, y, "accuracy")
        assert found["accuracy"] == pytest.approx(point.metric, abs=0.02)
        assert design.total[0] == pytest.approx(point.resources[0], rel=0.4)


def test_formats_are_reported(tight):
    formats = {each.name: each for each in tight.report.formats}
    for layer in tight.report.layers:
        bits = dict(formats[layer.name].weights)
        assert sum(bits.values()) == layer.weights
        assert bits[0] == layer.weights - layer.nonzeros_after
    assert formats["fc2"].text in json.dumps(tight.hls_config)
    read = fabricfit.reporting.read_run(tight.directory).report
    assert read.formats == tight.report.formats
    assert "Number formats" in tight.write_report().read_text()
    maps = fabricfit.reporting.read_run(tight.directory).maps
    zeros = sum(int((codes == 1).sum()) for codes in maps.values())
    weights = [layer for layer in read.layers if layer.weights]
    assert sum(codes.size for codes in maps.values()) == sum(each.weights for each in weights)
    assert 0 < zeros == sum(each.weights - each.nonzeros_after for each in weights)


def test_a_network_of_trained_precision_is_written_as_verilog(tight, data, tmp_path):
    pytest.importorskip("alkaid", exc_type=ImportError)
    design = tight.to_rtl(tmp_path / "verilog")
    assert (design.folder / "network.v").is_file()
    assert design.lut == pytest.approx(tight.report.resources_after[0], rel=0.25)
    if shutil.which("iverilog") and shutil.which("yosys"):
        found = tight.verify(data[1][0], samples=100, compile=False, rtl=True)
        assert found.rtl.agrees and found.rtl.within_estimate, str(found)
        assert "As Verilog" in tight.write_report().read_text()


@pytest.mark.parametrize(
    ("budget", "hls_config"),
    [
        pytest.param(Budget(dsp=10), None, marks=pytest.mark.slow),
        pytest.param(
            Budget(dsp=10, lut=600),
            {"Model": {"Strategy": "Latency", "ReuseFactor": 1}},
            marks=pytest.mark.slow,
        ),
        pytest.param(Budget(lut=500, ff=600), {}, marks=pytest.mark.slow),
        pytest.param(Budget.device("pynq-z2"), None, marks=pytest.mark.slow),
        pytest.param(Budget.relative(lut=0.1), None, marks=pytest.mark.slow),
    ],
)
def test_budgets_of_every_kind_are_met(model, data, tmp_path, budget, hls_config):
    result = fabricfit.fit(
        model, *data, budget, settings(tmp_path), hls_config=hls_config, precision="trained"
    )
    assert result.report.fits and result.report.metric_after > 0.9
    assert result.verify(data[1][0], samples=50).passed


def test_what_cannot_be_is_refused_before_anything_is_written(model, data, tmp_path):
    given = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 4, "Strategy": "Resource"}}
    softmax = keras.Sequential([keras.Input((6,)), L.Dense(3, "softmax", name="out")])
    scheduled = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.9))
    cases = [
        (model, given, Budget(lut=400), {}, {}, InvalidInputError, "reuse factor of 1"),
        (softmax, None, Budget(lut=400, dsp=0), {}, {}, InfeasibleError, "3 DSP of 0"),
        (model, None, Budget(lut=400), {"optimizer": scheduled}, {}, InvalidInputError, "number"),
        (model, None, Budget(lut=400), {}, {"granularity": "x"}, InvalidInputError, "granularity"),
        (model, None, Budget(lut=400), {}, {"overflow": "x"}, InvalidInputError, "overflow"),
        (model, None, Budget(lut=400), {}, {"precision": "taken"}, InvalidInputError, "precision"),
    ]
    for fitted, config, budget, changes, options, error, text in cases:
        options = {"precision": "trained", **options}
        with pytest.raises(error, match=text):
            fabricfit.fit(
                fitted, *data, budget, settings(tmp_path, **changes), hls_config=config, **options
            )
    assert not (tmp_path / "runs").exists()


def test_precision_is_trained_where_none_is_stated(model):
    network = read(model)

    def chosen(config, asked=None):
        return choose_precision(asked, config, network)

    assert chosen({}) == "trained"
    assert chosen({"Model": {"Strategy": "Latency"}}) == "trained"
    assert chosen({"Model": {"Precision": "fixed<8,3>"}}) == "given"
    named = {"LayerName": {"fc": {"Precision": {"weight": "fixed<8,3>", "result": "auto"}}}}
    assert chosen(named) == "given"
    assert chosen(named, "trained") == "trained"
    assert chosen({"LayerName": {"fc": {"Precision": "auto"}}}) == "trained"


def test_what_the_configuration_says_besides_is_kept(model, data, tmp_path):
    config = {"Model": {"BramFactor": 7}, "LayerName": {"fc1": {"ParallelizationFactor": 1}}}
    result = fabricfit.fit(
        model, *data, Budget(lut=4000), settings(tmp_path, epochs=8), hls_config=config
    )
    assert result.hls_config["Model"]["BramFactor"] == 7
    assert result.hls_config["LayerName"]["fc1"]["ParallelizationFactor"] == 1


@pytest.mark.slow
def test_with_a_tolerance_the_cheapest_good_network_is_returned(model, data, tmp_path):
    keras.utils.set_random_seed(1)
    trained = keras.models.clone_model(model)
    trained.compile("adam", settings(tmp_path).loss_fn)
    trained.fit(*data[0], epochs=20, verbose=0)
    result = fabricfit.fit(
        trained, *data, Budget(lut=50_000), settings(tmp_path, rtol=0.97), precision="trained"
    )
    assert result.report.threshold == pytest.approx(0.97 * result.report.metric_before)
    good = [p for p in result.pareto if p.metric >= result.report.threshold]
    assert result.report.metric_after >= result.report.threshold - 0.02
    cheapest = min(p.resources[0] for p in good)
    assert result.report.resources_after[0] == pytest.approx(cheapest, rel=0.4)


def test_a_sweep_is_one_training(model, data, tmp_path):
    budgets = [Budget(lut=1500), Budget(lut=600), Budget(lut=5)]
    found = fabricfit.sweep(model, None, budgets[:2], *data, settings(tmp_path))
    assert [point.report.fits for point in found.points] == [True, True]
    first, second = (point.report.resources_after[0] for point in found.points)
    assert second <= first and second <= 600
    assert len(list((found.directory / "training").glob("*/journal.jsonl"))) == 1
    for point in found.points:
        assert point.load().count_params() == model.count_params()
    partly = fabricfit.sweep(
        softmax_of(model),
        None,
        [Budget(dsp=3), Budget(dsp=2)],
        *data,
        settings(tmp_path / "partly", epochs=4, loss_fn="sparse_categorical_crossentropy"),
    )
    assert [bool(point.error) for point in partly.points] == [False, True]
    again = fabricfit.sweep(model, None, budgets[:2], *data, settings(tmp_path, resume=True))
    assert again == found


def test_an_interrupted_training_ends_as_an_unbroken_one(model, data, tmp_path, monkeypatch, tight):
    from fabricfit.precision import training

    same = settings(tmp_path, epochs=80, checkpoint_seconds=0, resume=True)
    done = []

    def stop(made):
        done.append(made)
        if len(done) == 30:
            raise KeyboardInterrupt
        return real(made)

    real = training.estimate_costs
    monkeypatch.setattr(training, "estimate_costs", stop)
    with pytest.raises(KeyboardInterrupt):
        fabricfit.fit(model, *data, Budget(lut=400), same, precision="trained")
    result = fabricfit.fit(model, *data, Budget(lut=400), same, precision="trained")
    assert len(done) == 81
    assert result.report == tight.report
    for ours, theirs in zip(weights_of(result.model), weights_of(tight.model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_distillation_and_callbacks_are_heeded(model, data, tmp_path):
    losses = {}
    for part in (0.0, 0.5):
        history = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, part=part: losses.setdefault(part, []).append(
                logs["loss"]
            )
        )
        chosen = settings(tmp_path, epochs=4, distillation=part, callbacks=[history])
        fabricfit.fit(model, *data, Budget(lut=20_000), chosen, precision="trained")
    assert len(losses[0.0]) == len(losses[0.5]) == 4
    assert not np.allclose(losses[0.0], losses[0.5])
