"""The network that hls4ml builds, and its metrics, against hls4ml's own graph and Keras' metrics."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.attributes import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.errors import InvalidInputError
from fabricfit.firmware import QuantizedNetwork, evaluate, quantize_to_grid
from fabricfit.firmware.emulation import emulate
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.configuration import open_configuration
from fabricfit.network.reader import read
from fabricfit.samples import Data
from tests.common import L, blobs, lenet, mlp
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

hls4ml = pytest.importorskip("hls4ml")


def config(strategy="Latency", precision="fixed<12,5>", **options):
    return {"Model": {"Precision": precision, "ReuseFactor": 1, "Strategy": strategy}, **options}


def built(model, hls_config):
    network = read(model)
    return QuantizedNetwork(network, open_configuration(hls_config, network))


@pytest.mark.parametrize(
    ("strategy", "factor"),
    [("Latency", 1), ("Resource", 1), ("distributed_arithmetic", 1), ("ResourceUnrolled", 4)],
)
@pytest.mark.parametrize("make", [mlp, lenet])
def test_outputs_are_those_of_hls4mls_own_graph(make, strategy, factor, tmp_path):
    hls_config = config(strategy, "fixed<9,4,TRN,SAT>" if factor > 1 else "fixed<12,5>")
    hls_config["Model"]["ReuseFactor"] = factor  # sums that saturate depend on their order
    model = make()
    described = get_attributes_from_keras_model_and_hls4ml_config(model, hls_config)
    model, _ = quantize_to_grid(model, described)
    X = np.random.default_rng(0).normal(size=(40, *model.input_shape[1:]))
    converted = hls4ml.converters.convert_from_keras_model(
        model, hls_config=copy.deepcopy(hls_config), output_dir=str(tmp_path), backend="Vitis"
    )
    expected = emulate(model, converted, X)["out_softmax"]
    (found,) = built(model, hls_config).predict([X])
    np.testing.assert_array_equal(found, expected)


def test_metrics_are_those_of_keras_on_the_outputs():
    model = mlp()
    X, y = blobs(120)
    network, data = built(model, config()), Data(X, y)
    (outputs,) = network.predict([X])
    ends = network.network.ends.outputs
    accuracy = network.evaluate(data, ModelMetric("accuracy", ends))
    assert accuracy == {"accuracy": pytest.approx(float(np.mean(outputs.argmax(1) == y)))}
    loss = ModelLoss("sparse_categorical_crossentropy", outputs=ends)
    expected = -np.log(np.clip(outputs[np.arange(120), y], 1e-7, 1))
    found = network.evaluate(data, ModelMetric("loss", ends), loss)["loss"]
    assert found == pytest.approx(expected.mean(), rel=0.05)
    with pytest.raises(InvalidInputError, match="metric must be a metric of outputs"):
        network.evaluate(data, ModelMetric("loss", ends))


def test_metrics_of_several_outputs_have_their_names():
    start = keras.Input((6,), name="start")
    x = L.Dense(8, "relu", name="both")(start)
    model = keras.Model(start, [L.Dense(1, name="left")(x), L.Dense(2, name="right")(x)])
    X = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    y = {"left": np.zeros((30, 1)), "right": np.ones((30, 2))}
    found = evaluate(model, config(precision="fixed<24,10>"), X, y, "mae")
    assert len(found) == 4
    for name in ("left", "right"):
        assert any(key.startswith(f"{name}_") for key in found)
    left, right = (keras.ops.convert_to_numpy(each) for each in model(X))
    values = sorted(value for name, value in found.items() if name.startswith("float_"))
    assert values == pytest.approx(
        sorted([np.abs(left).mean(), np.abs(right - 1).mean()]), rel=1e-5
    )
    quantized = sorted(value for name, value in found.items() if not name.startswith("float_"))
    assert quantized == pytest.approx(values, abs=0.02)


def test_levels_and_reports_of_a_run_are_of_the_quantized_network(tmp_path):
    keras.utils.set_random_seed(0)
    model = mlp(hidden=16)
    X, y = blobs(512)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X[:256], y[:256], epochs=20, verbose=0)
    hls_config = config("Latency", "fixed<8,4>")
    settings = fabricfit.OptimizationSettings(
        batch_size=32,
        epochs=3,
        optimizer="adam",
        loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy",
        increasing=True,
        rtol=None,
        tuner=None,
        regularization_range=[1e-6],
        directory=str(tmp_path),
    )
    data = (X[:256], y[:256]), (X[256:], y[256:])
    result = fabricfit.fit(
        model, *data, fabricfit.Budget.relative(lut=0.6), settings, hls_config=hls_config
    )
    found = result.evaluate(*data[1])
    assert result.report.metric_after == pytest.approx(found["accuracy"])
    assert result.best.metric == pytest.approx(found["accuracy"])
    before = evaluate(model, hls_config, *data[1], "accuracy")
    assert result.report.metric_before == pytest.approx(before["accuracy"])
    assert "the quantized network, bit for bit, on 256 validation samples" in str(result.report)
