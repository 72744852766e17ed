"""Metrics of one output, and of a model: as Keras resolves them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError
from fabricfit.losses import ModelMetric, fresh_metric, is_builtin
from fabricfit.network.ends import read_ends

pytestmark = pytest.mark.keras

L = keras.layers


def two_heads():
    given = keras.Input((6,), name="given")
    return keras.Model(
        given, [L.Dense(3, "softmax", name="kind")(given), L.Dense(1, name="energy")(given)]
    )


def own(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


def test_metrics_of_the_caller_are_copied():
    metric = keras.metrics.AUC(name="area", num_thresholds=7)
    metric.update_state([0, 1], [0.2, 0.7])
    copy = fresh_metric(metric)
    assert copy is not metric and copy.name == "area" and copy.num_thresholds == 7
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy.result()), 0)


@pytest.mark.parametrize(
    "y, outputs, kind",
    [
        (np.zeros(4), np.zeros((4, 3)), "SparseCategoricalAccuracy"),
        (np.zeros((4, 1)), np.zeros((4, 3)), "SparseCategoricalAccuracy"),
        (np.zeros((4, 3)), np.zeros((4, 3)), "CategoricalAccuracy"),
        (np.zeros((4, 1)), np.zeros((4, 1)), "BinaryAccuracy"),
    ],
)
def test_accuracy_means_what_keras_means(y, outputs, kind):
    assert type(fresh_metric("accuracy", outputs=outputs, labels=y)).__name__ == kind


def test_a_name_stays_the_metrics_name():
    for name in ("mse", "accuracy", "MeanSquaredError", "crossentropy", "loss"):
        assert ModelMetric(name).name == name
    assert ModelMetric(own).name == "own"
    assert ModelMetric(keras.metrics.AUC(name="area")).name == "area"


def test_metrics_by_output_are_named_and_placed():
    outputs = read_ends(two_heads()).outputs
    by_name = ModelMetric({"energy": "mse"}, outputs)
    assert by_name.name == "energy_mse" and by_name.needed == (1,)
    both = ModelMetric([["accuracy", "crossentropy"], "mae"], outputs)
    assert both.name == "mean(kind_accuracy, kind_crossentropy, energy_mae)"
    assert [place for place, _ in both.every()] == [0, 0, 1]
    assert ModelMetric("mse", outputs).needed == (0, 1)
    assert ModelMetric([None, "mse"], outputs).needed == (1,)


@pytest.mark.parametrize(
    "metric, message",
    [
        ({"enegry": "mse"}, "the key 'enegry'.*outputs are 'kind' and 'energy'"),
        (["mse"], "each of the model's 2 outputs"),
        ([None, None], "at least one output"),
        ({"energy": "nonsense"}, "validation_metric.'energy'.*'nonsense'"),
        (3, "must be a keras.metrics.Metric"),
        ("Metric", "measure something"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(metric, message):
    with pytest.raises(FabricFitError, match=message):
        ModelMetric(metric, read_ends(two_heads()).outputs)


def test_unknown_names_and_kinds_are_refused():
    with pytest.raises(InvalidInputError, match="'nonsense'"):
        fresh_metric("nonsense")
    with pytest.raises(InvalidTypeError):
        fresh_metric(3)


def test_a_metric_that_cannot_be_copied_is_refused_with_the_way_out():
    class Own(keras.metrics.Mean):
        def __init__(self, needed):
            super().__init__()

    with pytest.raises(
        InvalidInputError, match=r"Own\.get_config must return what its __init__ takes"
    ):
        ModelMetric(Own(3))


def test_builtin_objects_are_told_from_the_callers():
    assert is_builtin("adam") and is_builtin(keras.losses.MeanSquaredError())
    assert is_builtin(keras.losses.mean_squared_error)
    assert not is_builtin(lambda y, p: 0)
