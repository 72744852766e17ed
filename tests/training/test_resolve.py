"""Optimizers, metrics and mean losses: the caller's objects are copied."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.training import (
    Data,
    fresh_metric,
    fresh_optimizer,
    is_builtin,
    make_engine,
    mean_loss,
)
from tests.common import blobs, mlp

pytestmark = pytest.mark.keras


LOSS = "sparse_categorical_crossentropy"


def test_a_loss_by_name_is_a_mean():
    y, p = np.array([0, 2, 1, 1]), np.full((4, 3), 1 / 3, "float32")
    for loss in (LOSS, keras.losses.SparseCategoricalCrossentropy()):
        value = float(keras.ops.convert_to_numpy(mean_loss(loss)(y, p)))
        assert value == pytest.approx(np.log(3), rel=1e-5)


def test_objects_of_the_caller_are_copied():
    optimizer = keras.optimizers.Adam(0.123)
    model = mlp()
    model.compile(optimizer, LOSS)
    model.fit(*blobs(32), verbose=0)  # a trained optimizer: it has state for these variables
    fresh = fresh_optimizer(optimizer)
    assert fresh is not optimizer and float(fresh.learning_rate) == pytest.approx(0.123)
    metric = keras.metrics.AUC(name="area", num_thresholds=7)
    metric.update_state([0, 1], [0.2, 0.7])
    copy = fresh_metric(metric)
    assert copy is not metric and copy.name == "area" and copy.num_thresholds == 7
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy.result()), 0)


@pytest.mark.parametrize(
    "y, outputs, kind",
    [
        (np.zeros(4), np.zeros((4, 3)), "SparseCategoricalAccuracy"),
        (np.zeros((4, 3)), np.zeros((4, 3)), "CategoricalAccuracy"),
        (np.zeros((4, 1)), np.zeros((4, 1)), "BinaryAccuracy"),
    ],
)
def test_accuracy_means_what_keras_means(y, outputs, kind):
    assert type(fresh_metric("accuracy", outputs, y)).__name__ == kind


def test_builtin_objects_are_told_from_the_callers():
    assert is_builtin("adam") and is_builtin(keras.losses.MeanSquaredError())
    assert is_builtin(keras.losses.mean_squared_error)
    assert not is_builtin(lambda y, p: 0)


@pytest.mark.parametrize("what", ["loss", "optimizer", "metric"])
def test_unknown_names_and_kinds_are_refused(what):
    make = {"loss": mean_loss, "optimizer": fresh_optimizer, "metric": fresh_metric}[what]
    with pytest.raises(InvalidInputError, match="'nonsense'"):
        make("nonsense")
    with pytest.raises(InvalidTypeError):
        make(3)


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras does not know, and without a configuration."""

    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first * 0.5 ** keras.ops.cast(step, "float32")


class Own(keras.optimizers.SGD):
    """An optimizer that Keras does not know."""


@pytest.mark.parametrize("rate", [Halving(0.25), lambda: 0.25, 0.25])
def test_optimizers_of_ones_own_are_copied_without_registration(rate):
    scaled = keras.optimizers.LossScaleOptimizer(Own(rate, momentum=0.5), initial_scale=8.0)
    for optimizer in (Own(rate, momentum=0.5), scaled):
        fresh = fresh_optimizer(optimizer)
        assert fresh is not optimizer and type(fresh) is type(optimizer)
        assert float(fresh.learning_rate) == pytest.approx(0.25)
    assert fresh.initial_scale == 8.0
    assert (
        type(fresh.inner_optimizer) is Own and fresh.inner_optimizer is not scaled.inner_optimizer
    )
    assert fresh.inner_optimizer.momentum == 0.5


def test_what_an_optimizer_does_not_let_decay_does_not_decay():
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = mlp()
    kernel = np.array(model.layers[0].get_weights()[0])
    engine = make_engine(model, LOSS, optimizer)
    X, y = blobs(32)
    engine.train_epoch(
        Data(0 * X, y), np.arange(32), 32
    )  # no gradients in the first layer's kernel
    decayed = np.array(model.layers[0].get_weights()[0])
    np.testing.assert_allclose(decayed, 0.95 * kernel, rtol=1e-4)
    unlike = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    reference = mlp()
    make_engine(reference, LOSS, unlike).train_epoch(Data(0 * X, y), np.arange(32), 32)
    assert not np.allclose(model.layers[0].get_weights()[1], reference.layers[0].get_weights()[1])
    by_variable = keras.optimizers.AdamW(0.1)
    by_variable.exclude_from_weight_decay(var_list=model.trainable_variables[:1])
    with pytest.raises(InvalidInputError, match="var_names"):
        fresh_optimizer(by_variable)
