"""Losses by output: every form that ``model.compile`` takes, and what fits no output."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import FabricFitError
from fabricfit.losses import ModelLoss
from fabricfit.network.ends import Targets, read_ends

pytestmark = pytest.mark.keras

L = keras.layers
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 6), RNG.normal(size=(6, 1)).astype("float32")
P = np.full((6, 3), 1 / 3, "float32"), RNG.normal(size=(6, 1)).astype("float32")
KIND, ENERGY = np.log(3), float(np.mean((Y[1] - P[1]) ** 2))


def two_heads():
    given = keras.Input((6,), name="given")
    heads = [L.Dense(3, "softmax", name="kind")(given), L.Dense(1, name="energy")(given)]
    return keras.Model(given, heads)


class Own(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def value(loss_fn, loss_weights=None, weights=(), outputs=None):
    outputs = read_ends(two_heads()).outputs if outputs is None else outputs
    loss = ModelLoss(loss_fn, loss_weights, outputs)
    return float(
        keras.ops.convert_to_numpy(loss(Targets(Y, weights), list(map(keras.ops.array, P))))
    )


CROSS = "sparse_categorical_crossentropy"
FORMS = {
    "dict": {"energy": "mse", "kind": CROSS},
    "list": [CROSS, "mse"],
    "tuple": (keras.losses.SparseCategoricalCrossentropy(), keras.losses.mean_squared_error),
    "own": [keras.losses.sparse_categorical_crossentropy, Own()],
    "class": [keras.losses.SparseCategoricalCrossentropy, Own],
    "by shape": ["crossentropy", "mse"],
    "serialized": [CROSS, keras.losses.serialize(keras.losses.MeanSquaredError())],
}


@pytest.mark.parametrize("form", FORMS)
def test_losses_by_output_add_up(form):
    assert value(FORMS[form]) == pytest.approx(KIND + ENERGY, rel=1e-5)


def test_the_callers_object_is_the_one_that_is_used():
    own = Own()
    assert ModelLoss(own, outputs=read_ends(two_heads()).outputs).losses == (own, own)


@pytest.mark.parametrize("weights", [{"energy": 0.5, "kind": 2}, [2, 0.5], (2.0, 0.5)])
def test_losses_are_weighted(weights):
    assert value(FORMS["dict"], weights) == pytest.approx(2 * KIND + 0.5 * ENERGY, rel=1e-5)


def test_an_output_may_have_no_loss():
    for form in ({"energy": "mse"}, [None, "mse"]):
        assert value(form) == pytest.approx(ENERGY, rel=1e-5)


def test_weights_of_samples_count_for_their_output():
    w = RNG.random(6).astype("float32")
    squares = (Y[1] - P[1])[:, 0] ** 2
    found = value(FORMS["list"], weights=((), w))
    assert found == pytest.approx(KIND + np.mean(w * squares), rel=1e-5)


@pytest.mark.parametrize(
    "loss_fn, loss_weights, message",
    [
        (
            {"kind": CROSS, "enegry": "mse"},
            None,
            "loss_fn has the key 'enegry'.*'kind' and 'energy'",
        ),
        ([CROSS], None, "loss_fn must hold a loss, or None, for each of the model's 2 outputs"),
        ([None, None], None, "at least one output"),
        ([CROSS, "nonsense"], None, r"loss_fn\[1\] must be a loss that Keras knows"),
        ({"kind": CROSS, "energy": 3}, None, r"loss_fn\['energy'\] must be a loss"),
        ("mse", [1.0], "loss_weights must hold a number for each of the model's 2 output"),
        ("mse", 2.0, "loss_weights must hold a number for each"),
        ("mse", {"energy": 1, "knid": 2}, "loss_weights has the key 'knid'"),
        ("mse", [1.0, "a"], "loss_weights must hold finite numbers"),
        ("mse", [1.0, np.inf], "loss_weights must hold finite numbers"),
    ],
)
def test_what_fits_no_output_is_refused_by_name(loss_fn, loss_weights, message):
    with pytest.raises(FabricFitError, match=message):
        value(loss_fn, loss_weights)


@pytest.mark.parametrize("loss", [Own(), Own, "mse", "hinge", lambda y, p: (y - p) ** 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_labels_without_the_last_axis_are_the_same_labels(loss, dtype):
    """Subtracted from outputs (n, 1), labels (n,) would make an array (n, n)."""
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    model_loss = ModelLoss(loss, outputs=read_ends(model).outputs)
    y, p = np.array([[0], [1], [3], [1]]).astype(dtype), RNG.normal(size=(4, 1)).astype("float32")
    found = [
        float(keras.ops.convert_to_numpy(model_loss(Targets((each,)), keras.ops.array(p))))
        for each in (y, y[:, 0])
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_class_that_expects_labels_without_the_last_axis_gets_them():
    class Flat(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.square(y_true - keras.ops.squeeze(y_pred, -1))

    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    loss = ModelLoss(Flat(), outputs=read_ends(model).outputs)
    y, p = np.array([0.0, 1.0, 3.0], "float32"), np.array([[1.0], [1.0], [1.0]], "float32")
    found = float(keras.ops.convert_to_numpy(loss(Targets((y,)), keras.ops.array(p))))
    assert found == pytest.approx(np.mean((y - 1) ** 2))
