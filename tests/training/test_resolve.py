"""Optimizers: the caller's objects are copied."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.samples import Data
from fabricfit.training import fresh_optimizer, make_engine
from tests.common import blobs, mlp

pytestmark = pytest.mark.keras


LOSS = "sparse_categorical_crossentropy"


def test_optimizers_of_the_caller_are_copied():
    optimizer = keras.optimizers.Adam(0.123)
    model = mlp()
    model.compile(optimizer, LOSS)
    model.fit(*blobs(32), verbose=0)  # a trained optimizer: it has state for these variables
    fresh = fresh_optimizer(optimizer)
    assert fresh is not optimizer and float(fresh.learning_rate) == pytest.approx(0.123)


def test_unknown_names_and_kinds_are_refused():
    with pytest.raises(InvalidInputError, match="'nonsense'"):
        fresh_optimizer("nonsense")
    with pytest.raises(InvalidTypeError):
        fresh_optimizer(3)


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
