"""Fitting networks with recurrent layers by trained precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InvalidInputError
from tests.common import L
from tests.marks import ON_ONE_BACKEND
from tests.optimization.test_trained_precision import settings

pytestmark = ON_ONE_BACKEND

pytest.importorskip("alkaid.trace")
hls4ml = pytest.importorskip("hls4ml")


@pytest.fixture(scope="module")
def data():
    """Sequences whose class is the signs of a sum and of a last step."""
    X = np.random.default_rng(0).normal(size=(768, 4, 3)).astype("float32")
    y = (X.sum(1)[:, 0] > 0).astype(int) + 2 * (X[:, -1, 1] > 0)
    return (X[:512], y[:512]), (X[512:], y[512:])


def model_of(*layers):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4, 3), name="start"), *layers, L.Dense(4, name="out")])


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    place = tmp_path_factory.mktemp("lstm")
    chosen = settings(place, epochs=40, optimizer=keras.optimizers.Adam(4e-3))
    model = model_of(L.LSTM(4, name="lstm"))
    return fabricfit.fit(model, *data, Budget(lut=1500), chosen, precision="trained")


def test_the_network_is_within_the_budget(fitted, data):
    report = fitted.report
    assert report.fits and report.resources_after[0] <= 1500 < report.resources_before[0]
    assert report.metric_after > 0.8
    names = ["lstm", "lstm/kernel", "lstm/recurrent_kernel", "out"]
    assert [layer.name for layer in report.layers] == names
    assert not any(layer.skipped for layer in report.layers)
    inputs = {each.name: each.inputs for each in report.formats}
    assert list(inputs) == names[1:]
    assert inputs["lstm/recurrent_kernel"] == (("fixed<16,6>", 1),)


def test_the_metric_is_that_of_the_network_in_hls4ml(fitted, data):
    X, y = data[1]
    assert "bit for bit" in fitted.report.evaluated
    assert fitted.evaluate(X, y)["accuracy"] == pytest.approx(fitted.report.metric_after)


@pytest.mark.slow
def test_the_compiled_code_computes_the_same(fitted, data):
    found = fitted.verify(data[1][0], samples=50)
    assert found.passed and not found.not_modelled, str(found)


def test_the_model_is_plain_and_can_be_loaded(fitted, data):
    kinds = [type(layer).__name__ for layer in fitted.model.layers]
    assert kinds == ["InputLayer", "Activation", "LSTM", "Activation", "Dense"]
    loaded = keras.saving.load_model(fitted.directory / "model.keras", compile=False)
    X = data[1][0]
    ours, theirs = (keras.ops.convert_to_numpy(each(X)) for each in (fitted.model, loaded))
    np.testing.assert_array_equal(ours, theirs)


def test_formats_inside_the_layer_are_those_of_the_configuration(data, tmp_path):
    config = {"LayerName": {"gru": {"Precision": {"result": "fixed<14,5>"}}}}
    model = model_of(L.GRU(4, name="gru"))
    chosen = settings(tmp_path, epochs=4)
    result = fabricfit.fit(
        model, *data, Budget(lut=50_000), chosen, hls_config=config, precision="trained"
    )
    assert result.hls_config["LayerName"]["gru"]["Precision"]["result"] == "fixed<14,5>"
    inputs = {each.name: each.text for each in result.report.formats}
    assert inputs["gru/recurrent_kernel"] == "fixed<14,5>"


@pytest.mark.parametrize(
    ("layers", "options", "reason"),
    [
        ([L.SimpleRNN(4, name="layer")], {}, "writes no code for it"),
        ([L.Bidirectional(L.GRU(4), name="layer")], {}, "stops at Bidirectional GRU"),
        ([L.GRU(4, reset_after=False, name="layer")], {}, "reset_after=False"),
        ([L.LSTM(4, name="layer")], {"granularity": "channel"}, "granularity='tensor'"),
    ],
)
def test_what_hls4ml_cannot_build_is_refused_by_name(layers, options, reason, data, tmp_path):
    if "granularity" in options:
        pytest.importorskip("hgq.quantizer")
    with pytest.raises(InvalidInputError, match=f"(?s)layer.*{reason}"):
        fabricfit.fit(
            model_of(*layers),
            *data,
            Budget(lut=9000),
            settings(tmp_path),
            precision="trained",
            **options,
        )
    assert not (tmp_path / "runs").exists()


def test_attention_is_refused_by_name(data, tmp_path):
    keras.utils.set_random_seed(0)
    start = keras.Input((4, 3))
    x = L.Flatten()(L.MultiHeadAttention(2, 3, name="attention")(start, start))
    model = keras.Model(start, L.Dense(4, name="out")(x))
    with pytest.raises(InvalidInputError, match=r"attention.*no converter for Multi"):
        fabricfit.fit(model, *data, Budget(lut=9000), settings(tmp_path), precision="trained")


def test_distributed_arithmetic_is_not_built_in_recurrent_layers():
    """hls4ml has no code for it, and builds Latency without a word; so it is counted."""
    model = model_of(L.LSTM(4, name="lstm"))
    asked = {"Precision": "fixed<16,6>", "ReuseFactor": 1}
    found, latency = (
        fabricfit.estimate(model, {"Model": {**asked, "Strategy": strategy}})
        for strategy in ("distributed_arithmetic", "Latency")
    )
    built = {layer.name: layer.strategy for layer in found.layers}
    assert built["lstm/kernel"] == built["lstm/recurrent_kernel"] == "latency"
    assert built["out"] == "distributed_arithmetic"
    kernels = [layer.resources for layer in found.layers if "/" in layer.name]
    assert kernels == [layer.resources for layer in latency.layers if "/" in layer.name]
    settings = {"Model": {**asked, "Strategy": "Latency"}}
    settings["LayerName"] = {"lstm": {"Strategy": "distributed_arithmetic"}}
    converted = hls4ml.converters.convert_from_keras_model(model, hls_config=settings)
    (node,) = [node for node in converted.get_layers() if node.class_name == "LSTM"]
    assert node.get_attr("strategy") == "latency"
