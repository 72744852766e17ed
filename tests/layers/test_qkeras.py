"""Quantized layers of qkeras-v3, in an environment of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.keras import OptimizationSettings, config, optimize
from fabricfit.layers import reason_to_skip
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from fabricfit.objectives import ParameterEstimator
from fabricfit.objectives.vivado_objectives import VivadoDSPEstimator
from fabricfit.scheduler import ConstantScheduler
from tests.common import L, blobs, kernel_of, outputs_of, weights_of

pytestmark = [pytest.mark.keras, pytest.mark.qkeras]

qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
if not hasattr(qkeras, "QDense"):
    pytest.skip("another package named qkeras is installed", allow_module_level=True)

HLS = {
    "IOType": "io_parallel",
    "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 4, "Strategy": "Resource"},
    "LayerName": {
        name: {"Precision": {"weight": "auto", "result": "auto"}} for name in ("fc1", "fc2", "out")
    },
}


def bits(width, integer=0):
    return qkeras.quantized_bits(width, integer, alpha=1)


def tagger(width=10):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            qkeras.QDense(16, kernel_quantizer=bits(width), bias_quantizer=bits(width), name="fc1"),
            L.ReLU(),
            qkeras.QDense(16, kernel_quantizer=bits(width), bias_quantizer=bits(width), name="fc2"),
            L.ReLU(),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )


def convolutional():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            qkeras.QConv2D(4, 3, kernel_quantizer=bits(8), bias_quantizer=bits(8), name="conv"),
            L.ReLU(),
            L.Flatten(),
            qkeras.QDense(3, kernel_quantizer=bits(8), bias_quantizer=bits(8), name="out"),
            L.Softmax(),
        ]
    )


def run(model, data, tmp_path, objective, attributes=None, **changes):
    return optimize(
        model,
        attributes or get_attributes_from_keras_model(model),
        objective,
        ConstantScheduler(0, 0.5, 0.25),
        data,
        data,
        OptimizationSettings(
            **{
                "batch_size": 64,
                "epochs": 4,
                "optimizer": keras.optimizers.Adam(0.01),
                "loss_fn": "sparse_categorical_crossentropy",
                "validation_metric": "accuracy",
                "increasing": True,
                "rtol": 0.5,
                "directory": tmp_path,
                "tuner": None,
                "regularization_range": [1e-4],
                **changes,
            }
        ),
    )


@pytest.mark.parametrize("ranking_metric", ["l1", "oracle"])
def test_dsps_of_quantized_layers_are_saved(tmp_path, ranking_metric):
    model = tagger()
    before = weights_of(model)
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, HLS)
    # 'auto' is the quantizer's width for a quantized layer, the model's default for a plain one.
    widths = [attributes[n].hls4ml.weight_precision.width for n in ("fc1", "fc2", "out")]
    assert widths == [10, 10, 16]
    data = blobs(256, 8)
    result = run(
        model, data, tmp_path, VivadoDSPEstimator, attributes, ranking_metric=ranking_metric
    )
    assert result.report.sparsity == 0.5 and not result.report.skipped
    assert result.report.resources_after[0] <= 0.5 * result.report.resources_before[0]
    assert isinstance(result.model.get_layer("fc1"), qkeras.QDense)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    # What is pruned is zero for the hardware too, after quantization.
    layer = result.model.get_layer("fc1")
    kernel = kernel_of(result.model, "fc1")
    quantized = keras.ops.convert_to_numpy(layer.kernel_quantizer_internal(layer.kernel))
    assert (quantized[kernel == 0] == 0).all() and (kernel == 0).any()


def test_quantized_convolutions_are_pruned(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(96, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 96)
    result = run(convolutional(), (X, y), tmp_path, ParameterEstimator, rtol=0.01)
    assert result.report.sparsity == 0.5
    assert (kernel_of(result.model, "conv") == 0).any()


def test_the_result_loads_with_keras_and_qkeras_alone(tmp_path):
    data = blobs(128, 8)
    result = run(tagger(), data, tmp_path, ParameterEstimator, rtol=0.1)
    result.model.save(tmp_path / "result.keras")
    np.save(tmp_path / "X.npy", data[0])
    script = f"""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "fabricfit":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Nowhere())
        import keras, numpy as np
        from qkeras.utils import _add_supported_quantized_objects
        objects = {{}}
        _add_supported_quantized_objects(objects)
        model = keras.models.load_model({str(tmp_path / "result.keras")!r}, custom_objects=objects)
        X = np.load({str(tmp_path / "X.npy")!r})
        np.save({str(tmp_path / "out.npy")!r}, keras.ops.convert_to_numpy(model(X)))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    expected = outputs_of(result.model, data[0])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)


def test_a_quantizer_without_a_zero_is_refused():
    model = keras.Sequential(
        [keras.Input((8,)), qkeras.QDense(4, kernel_quantizer=qkeras.binary(alpha=1), name="fc")]
    )
    assert "has no zero" in reason_to_skip(model.get_layer("fc"))


def test_quantized_layers_are_listed_once_qkeras_is_there():
    assert qkeras.QDense in config.SUPPORTED_LAYERS and qkeras.QConv2D in config.SUPPORTED_LAYERS


@pytest.mark.parametrize(("strategy", "reuse_factor"), [("Resource", 4), ("Latency", 1)])
def test_a_budget_is_met_in_the_generated_code(tmp_path, strategy, reuse_factor):
    """Weights are counted as the quantizer rounds them, which hls4ml writes into its project."""
    pytest.importorskip("hls4ml")
    X, y = blobs(256, inputs=8)
    model = tagger(8)
    section = {"Precision": "fixed<16,6>", "ReuseFactor": reuse_factor, "Strategy": strategy}
    hls_config = {**HLS, "Model": section}
    options = OptimizationSettings(
        batch_size=64, epochs=3, optimizer="adam", loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy", increasing=True, rtol=None, tuner=None,
        regularization_range=[1e-6], directory=str(tmp_path),
    )  # fmt: skip
    pairs = (X[:192], y[:192]), (X[192:], y[192:])
    result = fabricfit.fit(
        model, *pairs, fabricfit.Budget.relative(dsp=0.5), options, hls_config=hls_config
    )
    assert result.report.fits
    found = fabricfit.verify(result.model, result.hls_config, compile=False)
    softmax = 3
    for layer in found.layers:
        counted = layer.multipliers if layer.constants is None else layer.constants
        after = next(x for x in result.report.layers if x.name == layer.name).resources_after[0]
        assert counted == after - (softmax if layer.name == "out" else 0), layer.name
