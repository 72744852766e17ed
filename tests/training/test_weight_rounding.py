"""Training with rounded weights: the loss is that of the rounded ones, gradients pass the rounding."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.description.precision import FixedPrecision, dequantize, quantize
from fabricfit.losses import ModelMetric
from fabricfit.samples import Data
from fabricfit.training import make_engine
from fabricfit.training.weight_rounding import WeightRounding
from tests.common import L

pytestmark = pytest.mark.keras

FORMAT = FixedPrecision(4, 1)


def make_linear(weights):
    model = keras.Sequential([keras.Input((3,)), L.Dense(2, use_bias=False, name="fc")])
    model.layers[0].kernel.assign(weights)
    return model


def on_grid(weights, form=FORMAT):
    return dequantize(quantize(weights, form), form)


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(2, 64, 3))
    return X.astype("float32"), y[:, :2].astype("float32")


def test_a_step_descends_from_the_loss_of_the_rounded_weights(samples):
    X, y = samples
    weights = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    model = make_linear(weights)
    engine = make_engine(model, "mse", keras.optimizers.SGD(0.1))
    engine.round_weights([(model.layers[0].kernel, FORMAT)])
    rounded = on_grid(weights)
    wrong = X @ rounded - y
    loss = engine.step(X, y)
    assert loss == pytest.approx(np.mean(wrong**2), rel=1e-5)
    step = 0.1 * X.T @ (2 * wrong / wrong.size)
    found = keras.ops.convert_to_numpy(model.layers[0].kernel)
    np.testing.assert_allclose(found, weights - step, rtol=1e-4, atol=1e-6)


def test_what_is_evaluated_is_rounded_and_what_trains_is_not(samples):
    X, y = samples
    weights = np.random.default_rng(2).normal(size=(3, 2)).astype("float32")
    model = make_linear(weights)
    engine = make_engine(model, "mse", "sgd")
    engine.round_weights([(model.layers[0].kernel, FORMAT)])
    found = engine.evaluate(Data(X, y), ModelMetric("mse"))
    assert found == pytest.approx(np.mean((X @ on_grid(weights) - y) ** 2), rel=1e-5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.layers[0].kernel), weights)


def test_rounding_errors_that_add_up_are_trained_away():
    """Three inputs that say nearly the same: each weight rounds to 0, though their sum is 1.2."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(512, 1)) + 0.05 * rng.normal(size=(512, 3))).astype("float32")
    weights = np.repeat([[0.47], [0.4], [0.33]], 2, axis=1).astype("float32")
    model = make_linear(weights)
    engine = make_engine(model, "mse", keras.optimizers.Adam(0.002))
    whole = FixedPrecision(3, 3)
    engine.round_weights([(model.layers[0].kernel, whole)])
    data, metric = Data(X, X @ weights), ModelMetric("mse")
    before, best = engine.evaluate(data, metric), np.inf
    for _ in range(10):
        engine.train_epoch(data, rng.permutation(512), 64)
        best = min(best, engine.evaluate(data, metric))
    assert best < 0.1 * before


def test_wide_formats_and_foreign_variables_are_left_alone():
    model = make_linear(np.ones((3, 2), "float32"))
    kernel = model.layers[0].kernel
    assert not WeightRounding(model, [(kernel, FixedPrecision(16, 6))])
    other = keras.Variable(np.ones(3))
    assert not WeightRounding(model, [(other, FORMAT)])
    assert WeightRounding(model, [(kernel, FORMAT)])


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(-40, 40, width=32), min_size=6, max_size=6),
    st.integers(1, 12),
    st.integers(-3, 6),
    st.booleans(),
)
def test_rounding_is_that_of_the_hardware_grid(values, width, integer, signed):
    model = make_linear(np.zeros((3, 2)))
    form = FixedPrecision(width, integer, signed)
    weights = np.array(values, "float32").reshape(3, 2)
    rounding = WeightRounding(model, [(model.layers[0].kernel, form)])
    (found,) = rounding([keras.ops.convert_to_tensor(weights)])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), on_grid(weights, form), atol=1e-5 * 40
    )
