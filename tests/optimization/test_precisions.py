"""Whole runs of models in other precisions than single."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.firmware.quantization import quantize_to_grid
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from tests.common import L, blobs, outputs_of, quick_settings, weights_of
from tests.marks import ON_ONE_BACKEND
from tests.optimization.runs import run

pytestmark = ON_ONE_BACKEND

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
POLICIES = ("mixed_float16", "mixed_bfloat16", "float64")


@pytest.fixture(scope="module")
def data():
    X, y = blobs(160)
    return (X[:96], y[:96]), (X[96:], y[96:])


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def classifier(policy, last=None):
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return keras.Sequential(
            [
                keras.Input((6,)),
                L.Dense(8, activation="relu", name="fc1"),
                L.Dense(8, name="fc2"),
                L.BatchNormalization(name="norm"),
                L.ReLU(name="relu"),
                L.Dense(3, activation="softmax", dtype=last, name="out"),
            ]
        )
    finally:
        keras.config.set_dtype_policy(before)


def trained(policy, data, last=None):
    model = classifier(policy, last)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data[0], epochs=5, verbose=0)
    return model


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ("mixed_float16", {"ranking_metric": "saliency"}),
        ("mixed_bfloat16", {"distillation": 0.5, "compensation": 64, "recalibration": 64}),
        slow("mixed_float16", {"distillation": 0.5, "compensation": 64, "recalibration": 64}),
        slow("mixed_bfloat16", {"ranking_metric": "oracle"}),
        slow("float64", {"ranking_metric": "saliency", "recalibration": 64, "distillation": 0.5}),
        slow("mixed_float16", {"tuner": "halving", "trials": 3}),
    ],
)
def test_fit_goes_through_in_every_precision(policy, changes, data, tmp_path):
    model = trained(policy, data)
    before = weights_of(model)
    result = fabricfit.fit(
        model,
        *data,
        Budget.relative(dsp=0.6),
        quick_settings(tmp_path, **changes),
        hls_config=CONFIG,
    )
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert result.report.resources_after[0] <= 0.6 * result.report.resources_before[0]
    assert result.model.get_layer("fc1").dtype_policy.name == policy
    assert np.isfinite(outputs_of(result.model, data[1][0])).all()
    accuracy = np.mean(outputs_of(result.model, data[1][0]).argmax(-1) == data[1][1])
    assert accuracy == pytest.approx(result.report.metric_after, abs=0.02)


@pytest.mark.parametrize("policy", POLICIES)
def test_units_are_removed_in_every_precision(policy, data, tmp_path):
    model = trained(policy, data, last="float32")
    result = run(model, data, tmp_path, GPUFLOPEstimator, rtol=None, epochs=2)
    assert result.model.count_params() < model.count_params()
    assert result.model.dtype_policy.name == policy
    assert [layer.dtype_policy.name for layer in result.model.layers] == [
        layer.dtype_policy.name for layer in model.layers
    ]


@pytest.mark.parametrize("policy", [*POLICIES, "float16", "bfloat16"])
def test_estimates_and_grids_do_not_depend_on_it(policy):
    model, plain = classifier(policy), classifier("float32")
    plain.set_weights([np.asarray(w, "float32") for w in model.get_weights()])
    assert str(fabricfit.estimate(model, CONFIG)) == str(fabricfit.estimate(plain, CONFIG))
    found = []
    for each in (model, plain):
        attributes = get_attributes_from_keras_model_and_hls4ml_config(each, CONFIG)
        quantized, _ = quantize_to_grid(each, attributes)
        found.append(np.asarray(quantized.get_layer("fc1").get_weights()[0], "float32"))
    np.testing.assert_array_equal(*found)
