"""Statistics of batch normalizations that are taken anew."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.samples import Data
from fabricfit.training import make_engine
from fabricfit.training.recalibration import Recalibration
from tests.common import L, blobs, weights_of
from tests.optimization.test_structured import prune, resnet8, textures

pytestmark = pytest.mark.keras


def normalized(momentum=0.99):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(5, "relu", name="fc"),
            L.BatchNormalization(momentum=momentum, name="first"),
            L.Dense(4, "tanh"),
            L.BatchNormalization(momentum=momentum, name="second"),
            L.Dense(3, "softmax"),
        ]
    )


def test_they_are_those_of_the_data():
    X, y = blobs(96)
    model = normalized()
    engine = make_engine(model, "sparse_categorical_crossentropy", "adam")
    found = Recalibration(engine, Data(X, y), 96, 96)
    assert found.does_something
    before = weights_of(model)
    found()
    inner = keras.Model(model.inputs, [model.get_layer(n).input for n in ("first", "second")])
    seen = np.array(keras.ops.convert_to_numpy(inner(X, training=False)[0]), np.float64)
    first = model.get_layer("first")
    np.testing.assert_allclose(weights_in(first.moving_mean), seen.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(
        weights_in(first.moving_variance), seen.var(axis=0), rtol=1e-4, atol=1e-6
    )
    # With one batch, the second normalization sees in training what it sees in inference from now on.
    second = np.array(keras.ops.convert_to_numpy(inner(X, training=False)[1]))
    np.testing.assert_allclose(
        weights_in(model.get_layer("second").moving_mean), second.mean(axis=0), atol=2e-3
    )
    changed = [not np.array_equal(a, b) for a, b in zip(before, weights_of(model), strict=True)]
    assert sum(changed) == 4


def weights_in(variable):
    return np.array(keras.ops.convert_to_numpy(variable), np.float64)


def test_batches_are_put_together_as_one():
    X, y = blobs(96)
    found = []
    for size in (96, 40):
        model = normalized()
        engine = make_engine(model, "sparse_categorical_crossentropy", "adam")
        Recalibration(engine, Data(X, y), 96, size)()
        first = model.get_layer("first")
        found.append((weights_in(first.moving_mean), weights_in(first.moving_variance)))
    for one, several in zip(*found, strict=True):
        np.testing.assert_allclose(one, several, rtol=1e-4, atol=1e-6)


def test_a_model_without_them_is_left_alone():
    X, y = blobs(32)
    model = keras.Sequential([keras.Input((6,)), L.Dense(3)])
    engine = make_engine(model, "mse", "adam")
    found = Recalibration(engine, Data(X, y), 32, 32)
    assert not found.does_something
    found()
    frozen = normalized(1.0)
    engine = make_engine(frozen, "mse", "adam")
    assert not Recalibration(engine, Data(X, y), 32, 32).does_something


@pytest.mark.slow
def test_a_run_takes_them_anew_at_every_level(tmp_path):
    shape = (8, 8, 3)
    data = (textures(192, shape, 4, 0), textures(128, shape, 4, 1))
    model = resnet8(shape, 4, 4)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(*data[0], batch_size=32, epochs=5, verbose=0)
    still = keras.optimizers.SGD(1e-12)  # no training: what is left is the statistics
    options = {"epochs": 1, "rewinding_epochs": 0, "optimizer": still, "increasing": False}
    options["validation_metric"] = "sparse_categorical_crossentropy"
    found = [
        prune(model, data, tmp_path, recalibration=samples, **options).report.levels[-1]
        for samples in (0, 192)
    ]
    assert [level.epochs for level in found] == [1, 1]
    assert found[1].metric != found[0].metric
    with pytest.raises(InvalidInputError, match="recalibration must be a whole number"):
        prune(model, data, tmp_path, recalibration=-1)
