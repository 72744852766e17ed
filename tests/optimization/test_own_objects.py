"""Runs of models that hold functions, objects and layers of the user's own, registered nowhere."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest
from keras import ops

import fabricfit
from fabricfit import Budget
from fabricfit.errors import InvalidInputError
from fabricfit.objectives.gpu_objectives import GPUFLOPEstimator
from fabricfit.optimization.identity import fingerprint
from fabricfit.optimization.sweep import _Task
from fabricfit.samples import Data
from tests.common import L, blobs, outputs_of, quick_settings, weights_of
from tests.marks import ON_ONE_BACKEND
from tests.optimization.runs import run

pytestmark = ON_ONE_BACKEND

CONFIG = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}


def gate(x):
    return x * ops.sigmoid(1.702 * x)


class Ridge(keras.regularizers.Regularizer):
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, x):
        return self.strength * ops.sum(ops.square(x))

    def get_config(self):
        return {"strength": self.strength}


class Shift(L.Layer):
    """A layer with a weight and a function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = keras.activations.get(function)

    def build(self, shape):
        self.offset = self.add_weight(shape=(shape[-1],), name="offset")

    def call(self, x):
        return self.function(x) + self.offset

    def get_config(self):
        function = keras.activations.serialize(self.function)
        return {**super().get_config(), "function": function}


class Silent(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def own_model(*parts):
    keras.utils.set_random_seed(0)
    factor = 0.5
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation=gate, kernel_regularizer=Ridge(1e-3), name="fc1"),
            L.BatchNormalization(name="norm"),
            L.Lambda(lambda x: factor * x, name="scale"),
            *parts,
            L.Dense(8, activation=gate, name="fc2"),
            Shift(gate, name="shift"),
            L.Dense(3, activation="softmax", name="out"),
        ]
    )


@pytest.fixture(scope="module")
def data():
    X, y = blobs(128)
    return (X[:96], y[:96]), (X[96:], y[96:])


def test_runs_work_with_them(data, tmp_path, caplog):
    model = own_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    before, optimizer = weights_of(model), model.optimizer
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(model, data, tmp_path, rtol=None, epochs=2)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.compiled and model.optimizer is optimizer
    assert model.get_layer("fc1").activation is gate
    made = result.model
    assert made.get_layer("fc1").activation is gate
    assert np.isfinite(outputs_of(made, data[1][0])).all()
    assert "custom_objects={'Ridge': …, 'Shift': …, 'gate': …}, safe_mode=False" in caplog.text
    again = keras.saving.load_model(
        result.directory / "model.keras",
        custom_objects={"gate": gate, "Ridge": Ridge, "Shift": Shift},
        safe_mode=False,
        compile=False,
    )
    np.testing.assert_allclose(outputs_of(again, data[1][0]), outputs_of(made, data[1][0]))


def test_fit_names_those_that_hls4ml_does_not_convert(data, tmp_path):
    with pytest.raises(InvalidInputError) as raised:
        fabricfit.fit(
            own_model(),
            *data,
            Budget.relative(dsp=0.6),
            quick_settings(tmp_path),
            hls_config=CONFIG,
        )
    said = str(raised.value)
    assert all(f"layer '{name}'" in said for name in ("fc1", "scale", "fc2"))
    assert "layer 'out'" not in said
    assert list(tmp_path.iterdir()) == []


def test_fit_works_with_those_that_it_converts(data, tmp_path):
    class Smoothed(keras.losses.Loss):
        def call(self, y_true, y_pred):
            place = ops.expand_dims(ops.cast(y_true, "int32"), -1)
            return -ops.log(ops.take_along_axis(y_pred, place, axis=-1) + 1e-3)

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(
                8, activation=keras.activations.relu, kernel_regularizer=Ridge(1e-3), name="fc1"
            ),
            L.BatchNormalization(name="norm"),
            L.Dense(3, "softmax", kernel_initializer=lambda shape, dtype: ops.ones(shape, dtype)),
        ]
    )
    settings = quick_settings(tmp_path, loss_fn=Smoothed())
    result = fabricfit.fit(model, *data, Budget.relative(dsp=0.6), settings, hls_config=CONFIG)
    assert isinstance(result.model.get_layer("fc1").kernel_regularizer, Ridge)
    assert result.report.fits


def test_a_file_that_cannot_be_loaded_is_said_to_be_none(data, tmp_path, caplog):
    """Keras writes a lambda as an activation in a form that it cannot read."""
    model = own_model(L.Dense(8, activation=lambda x: ops.maximum(x, 0.1 * x), name="leaky"))
    with caplog.at_level(logging.WARNING, "fabricfit"):
        result = run(model, data, tmp_path, rtol=None, epochs=2)
    assert "model.keras cannot be loaded, only the weights in it can" in caplog.text
    assert np.isfinite(outputs_of(result.model, data[1][0])).all()


def test_units_are_removed_around_them(data, tmp_path):
    model = own_model(L.Dense(8, "relu", name="a"), L.Dense(8, "relu", name="b"))
    result = run(model, data, tmp_path, GPUFLOPEstimator, rtol=None, epochs=2)
    X = data[1][0]
    assert result.model.count_params() <= model.count_params()
    assert np.isfinite(outputs_of(result.model, X)).all()


def test_what_cannot_be_copied_is_refused_before_anything_is_written(data, tmp_path):
    model = own_model(Silent(gate, name="own"))
    with pytest.raises(InvalidInputError, match=r"layer 'own' \(Silent\).*get_config"):
        run(model, data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_functions_of_one_name_make_different_models(data, tmp_path):
    def scaled(factor):
        return lambda x: factor * x

    found = []
    for factor in (0.5, 0.5, 0.7):
        keras.utils.set_random_seed(0)
        layer = L.Dense(3, activation=scaled(factor), name="out")
        model = keras.Sequential([keras.Input((6,), name="start"), layer], name="net")
        train = Data(*data[0])
        found.append(fingerprint(model, {}, train, train, quick_settings(tmp_path))["the model"])
    assert found[0] == found[1] and found[0] != found[2]


def test_they_are_sent_to_other_processes(tmp_path, data):
    model = own_model()
    task = _Task.of(model, CONFIG, data, quick_settings(tmp_path), "ray", {})
    restored, _ = task.restored()
    X = data[1][0]
    np.testing.assert_allclose(outputs_of(restored, X), outputs_of(model, X), rtol=1e-5)
    assert restored.get_layer("fc1").activation is gate
