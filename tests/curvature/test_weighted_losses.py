"""Derivatives of losses by output, with weights, ignored labels and masks: those that Keras trains with."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.curvature import Curvature, get_model_gradients, model_hessian
from tests.marks import first_quick

pytestmark = pytest.mark.keras

L = keras.layers
N = 24
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4)).astype("float32")
CLASSES = RNG.integers(0, 3, N)
VALUES = RNG.normal(size=(N, 1)).astype("float32")
W = RNG.uniform(0.1, 3, N).astype("float32")
CROSS = keras.losses.SparseCategoricalCrossentropy


def one_head(activation="softmax"):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((4,)), L.Dense(5, "relu", name="a"), L.Dense(3, activation, name="kind")]
    )


def two_heads():
    keras.utils.set_random_seed(3)
    given = keras.Input((4,), name="given")
    hidden = L.Dense(5, "relu", name="a")(given)
    heads = [L.Dense(3, "softmax", name="kind")(hidden), L.Dense(1, name="energy")(hidden)]
    return keras.Model(given, heads)


def masked():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((4, 1)), L.Masking(0.0), L.Dense(5, "relu", name="a"), L.Dense(1, name="kind")]
    )


STEPS = np.where(RNG.random((N, 4, 1)) < 0.3, 0, X[..., None]).astype("float32")
STEPS[:, 0] = 1.0  # something of each sample counts
IGNORED = np.where(RNG.random(N) < 0.3, 255, CLASSES)
WEIGHTS_OF_STEPS = W[:, None] * np.ones(4, "float32")
CASES = {
    "weights": (one_head, "sparse_categorical_crossentropy", None, X, CLASSES, W),
    "weights of a function": (
        one_head, lambda y, p: keras.losses.sparse_categorical_crossentropy(y, p), None, X, CLASSES, W
    ),
    "divided by weights": (one_head, CROSS(reduction="mean_with_sample_weight"), None, X, CLASSES, W),
    "ignored": (lambda: one_head(None), CROSS(from_logits=True, ignore_class=255), None, X, IGNORED, None),
    "ignored and weighted": (one_head, CROSS(ignore_class=255), None, X, IGNORED, W),
    "smoothed": (
        one_head, keras.losses.CategoricalCrossentropy(label_smoothing=0.2), None, X, np.eye(3)[CLASSES], W
    ),
    "two losses": (
        two_heads, {"energy": "mse", "kind": CROSS()}, {"energy": 0.3, "kind": 2.0}, X, [CLASSES,
        VALUES], None
    ),
    "two losses, weights of each": (
        two_heads, [CROSS(ignore_class=255), keras.losses.Huber(0.4)], [1.0, 4.0], X, [IGNORED,
        VALUES], [W, W[::-1].copy()]
    ),
    "one of two": (two_heads, [None, "mse"], None, X, [CLASSES, VALUES], None),
    "masked": (masked, "mse", None, STEPS, STEPS * 2 - 1, None),
    "masked and weighted": (masked, keras.losses.Huber(0.5), None, STEPS, STEPS * 2 - 1, WEIGHTS_OF_STEPS),
}  # fmt: skip


def gradients_of_keras(make, loss, loss_weights, X, y, weights):
    """Return what one step of gradient descent on all samples changes."""
    model = make()
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(1.0), loss, loss_weights=loss_weights)
    model.fit(X, y, sample_weight=weights, batch_size=N, shuffle=False, verbose=0)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    changes = {
        v.path: b - a for v, a, b in zip(model.trainable_variables, after, before, strict=True)
    }
    return {
        layer.name: changes[layer.kernel.path] for layer in model.layers if hasattr(layer, "kernel")
    }


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_that_keras_trains_with(case):
    make, loss, loss_weights, X, y, weights = CASES[case]
    expected = gradients_of_keras(*CASES[case])
    options = {"sample_weight": weights, "loss_weights": loss_weights}
    for batch_size in (None, 7):
        found = get_model_gradients(make(), loss, X, y, batch_size=batch_size, **options)
        assert list(found) == list(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=2e-4, atol=2e-5, err_msg=key)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", first_quick(["auto", "exact"]))
def test_second_derivatives_are_those_of_the_gradients(case, method):
    make, loss, loss_weights, X, y, weights = CASES[case]
    model, name = make(), "energy" if make is two_heads else "kind"
    found = model_hessian(
        model, loss, X, y, sample_weight=weights, loss_weights=loss_weights, method=method
    ).values[name]
    curvature = Curvature(model, None, loss, loss_weights=loss_weights)
    kernel = model.get_layer(name).kernel
    start, step = keras.ops.convert_to_numpy(kernel).copy(), 1e-2
    for place in np.ndindex(*start.shape[:1]):
        index = (*place, 0)
        slopes = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            slopes.append(curvature.gradients(X, y, weights)[name][index])
        kernel.assign(start)
        expected = (slopes[0] - slopes[1]) / (2 * step)
        assert found[index] == pytest.approx(expected, rel=2e-2, abs=2e-4)
