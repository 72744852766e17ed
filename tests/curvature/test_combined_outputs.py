"""Gauss–Newton along random combinations of outputs, against one pass for each output."""

import keras
import numpy as np
import pytest
from keras import layers

from fabricfit.curvature import Curvature, model_hessian
from fabricfit.curvature.effort import Effort
from fabricfit.errors import InvalidInputError
from tests.marks import ON_ONE_BACKEND

from .curvature_cases import randomize

pytestmark = ON_ONE_BACKEND


def rms(values):
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))


def convnet(outputs, activation):
    model = keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(3, 3, activation="relu", name="a"),
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="b"),
            layers.Dense(outputs, activation=activation, name="c"),
        ]
    )
    randomize(model, 3)
    return model


def classes(samples, outputs):
    rng = np.random.default_rng(2)
    return rng.normal(size=(samples, 6, 6, 1)), rng.integers(0, outputs, samples)


def values(samples, outputs):
    rng = np.random.default_rng(2)
    return rng.normal(size=(samples, 6, 6, 1)), rng.uniform(0, 1, (samples, outputs))


def pairwise(y_true, y_pred):
    """A loss in which outputs depend on each other, of negative curvature in some directions."""
    product = y_pred[:, 0] * y_pred[:, 1] + y_pred[:, 2] * keras.ops.cast(y_true, "float32")[:, 0]
    return product + 0.1 * keras.ops.sum(y_pred**2, axis=-1)


CASES = {
    "softmax": ("sparse_categorical_crossentropy", "softmax", classes),
    "squares": ("mse", "linear", values),
    "sigmoid": ("mse", "sigmoid", values),
    "own": (pairwise, "linear", values),
}


@pytest.mark.parametrize("case", CASES)
def test_combinations_are_right_on_average(case):
    loss, activation, data = CASES[case]
    X, y = data(200, 7)
    curvature = Curvature(convnet(7, activation), None, loss)
    exact = curvature.hessians(X, y, method="gauss-newton")
    found = [
        curvature.hessians(X, y, method="gauss-newton", passes=2, seed=seed) for seed in range(12)
    ]
    for key in "abc":
        each = np.array([one.values[key] for one in found], np.float64)
        size = rms(exact.values[key])
        single, mean = rms(each - exact.values[key]), rms(each.mean(axis=0) - exact.values[key])
        assert single < 2 * size, key
        assert mean < 1.6 * single / np.sqrt(len(found)) + 1e-5 * size, key
        # In a layer of the outputs themselves there is nothing to mix where the loss does not.
        assert key == "c" or single > 0.01 * size, key


def test_the_stated_error_is_that_of_the_samples_and_of_the_combinations():
    X, y = classes(4000, 7)
    curvature = Curvature(convnet(7, "softmax"), None, "sparse_categorical_crossentropy")
    exact = curvature.hessians(X, y)
    found = [curvature.hessians(X, y, samples=400, passes=1, seed=seed) for seed in range(6)]
    for key in "abc":
        true = [rms(each.values[key] - exact.values[key]) for each in found]
        stated = [each.errors[key] for each in found]
        assert 1 / 1.6 < rms(true) / rms(exact.values[key]) / rms(stated) < 1.6, key
    assert set(exact.errors.values()) == {0.0}


def test_as_many_passes_as_outputs_are_exact():
    X, y = classes(30, 7)
    curvature = Curvature(convnet(7, "softmax"), None, "sparse_categorical_crossentropy")
    exact = curvature.hessians(X, y)
    found = curvature.hessians(X, y, passes=7)
    assert set(found.errors.values()) == {0.0}
    for key in "abc":
        np.testing.assert_allclose(found.values[key], exact.values[key], rtol=1e-5, atol=1e-7)


def test_a_seed_gives_the_same_estimate():
    X, y = classes(50, 7)
    model = convnet(7, "softmax")
    first, second, other = (
        model_hessian(model, "sparse_categorical_crossentropy", X, y, passes=1, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.values["a"], second.values["a"])
    assert (first.values["a"] != other.values["a"]).any()


def test_a_single_batch_has_no_known_error():
    X, y = classes(1, 7)
    curvature = Curvature(convnet(7, "softmax"), None, "sparse_categorical_crossentropy")
    assert curvature.hessians(X, y, passes=1).errors["a"] == np.inf


def test_passes_are_checked():
    X, y = classes(4, 7)
    with pytest.raises(InvalidInputError, match="passes"):
        model_hessian(convnet(7, "softmax"), "sparse_categorical_crossentropy", X, y, passes=0)


def wide_convnet(activation):
    return keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(32, 3, padding="same", activation=activation),
            layers.Conv2D(64, 3, padding="same", activation=activation),
            layers.GlobalAveragePooling2D(),
            layers.Dense(100, activation="softmax"),
        ]
    )


def effort(model, available, **options):
    X = np.broadcast_to(np.float32(0), (available, *model.input_shape[1:]))
    loss = "sparse_categorical_crossentropy"
    curvature = Curvature(model, None, loss)
    return curvature.choose_effort(X, np.zeros(available, int), **options)


def test_a_small_network_has_no_bound():
    assert effort(convnet(7, "softmax"), 200) == Effort()


def test_the_price_of_a_large_network_follows_its_epochs():
    model = wide_convnet("relu")
    assert effort(model, 1000) == Effort(1024, 1)
    assert effort(model, 20_000) == Effort(2500, 1)
    assert effort(model, 60_000) == Effort(4096, 1)
    assert effort(model, 20_000, part=0.25) == Effort(625, 1)
    assert effort(model, 6000, samples=77) == Effort(77, 1)


def test_probes_of_a_large_network_are_bounded():
    found = effort(wide_convnet("tanh"), 4000)
    assert found.passes == 1
    assert 128 <= found.samples < 512
