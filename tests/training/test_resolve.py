"""Optimizers, metrics and mean losses: the caller's objects are copied."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.training import (
    fresh_metric,
    fresh_optimizer,
    is_builtin,
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
