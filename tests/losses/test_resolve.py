"""One resolver of losses: what Keras accepts for one loss is accepted, all else refused with the way out."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.losses import check_losses, resolve_loss, separate_samples

pytestmark = pytest.mark.keras


@keras.saving.register_keras_serializable("tests.losses")
class Registered(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


class Unregistered(Registered):
    """Somebody's own loss, which Keras cannot find by its description."""


def own_function(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


VALID = {
    "name": "mse",
    "name of a class": "MeanSquaredError",
    "object": keras.losses.MeanSquaredError(),
    "class": keras.losses.MeanSquaredError,
    "function": own_function,
    "own object": Unregistered(),
    "serialized object": keras.losses.serialize(keras.losses.MeanSquaredError()),
    "serialized function": keras.losses.serialize(keras.losses.mean_squared_error),
    "serialized own": keras.losses.serialize(Registered()),
    "without a configuration": {"class_name": "MeanSquaredError"},
}

Y = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "float32")
P = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], "float32")


@pytest.mark.parametrize("kind", VALID)
def test_every_description_of_one_loss_computes_it(kind):
    value = keras.ops.convert_to_numpy(resolve_loss(VALID[kind])(Y, P))
    assert np.mean(value) == pytest.approx(np.mean((Y - P) ** 2))


@pytest.mark.parametrize("kind", VALID)
def test_samples_are_told_apart_and_the_callers_object_is_not_changed(kind):
    value = keras.ops.convert_to_numpy(separate_samples(resolve_loss(VALID[kind]))(Y, P))
    np.testing.assert_allclose(value, np.mean((Y - P) ** 2, axis=1))
    assert VALID["object"].reduction == "sum_over_batch_size"


@pytest.mark.parametrize(
    "description",
    [
        "nonsense", "", {}, {"out": "mse"}, {"class_name": "Nonsense", "config": {}},
        {"class_name": "Adam", "config": {}}, {"class_name": "MeanSquaredError", "config": {"x": 1}},
        {"class_name": "function", "config": "mean_squared_error"},
        keras.losses.serialize(Unregistered()),
    ],
)  # fmt: skip
def test_what_keras_does_not_know_is_refused_with_the_way_out(description):
    with pytest.raises(
        InvalidInputError, match=r"must be a loss that Keras knows.*Received: loss_fn="
    ):
        resolve_loss(description)


@pytest.mark.parametrize("description", [None, 3, [3], {"out": 3}])
def test_what_describes_no_loss_is_refused(description):
    with pytest.raises(InvalidTypeError, match=r"loss_fn.* must be a loss.*Received: loss_fn"):
        check_losses(description)


@pytest.mark.parametrize("description", ["Loss", keras.losses.Loss, keras.losses.Loss()])
def test_the_base_class_of_losses_is_refused(description):
    with pytest.raises(InvalidInputError, match="must compute something"):
        resolve_loss(description)


def test_separating_samples_keeps_the_parameters():
    y, p = np.array([[0.0]], "float32"), np.array([[2.0]], "float32")
    for loss in (keras.losses.Huber(0.3), keras.losses.Huber(1.5)):
        value = keras.ops.convert_to_numpy(separate_samples(loss)(y, p))
        np.testing.assert_allclose(
            value, keras.ops.convert_to_numpy(loss(y, p)).reshape(1), rtol=1e-6
        )
