"""Coordinate descent on a finished network, against trying everything."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from fabricfit.network.reader import read
from fabricfit.precision.cost import estimate_luts
from fabricfit.precision.dense_chain import DenseChain, find_chain
from fabricfit.precision.model import build_precision_model
from fabricfit.precision.polish import polish
from fabricfit.precision.sums_loss import find_sums_loss
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import L
from tests.marks import ON_ONE_BACKEND
from tests.precision.test_training import prepared, samples, trained

pytestmark = ON_ONE_BACKEND


def chained(made, engine, data):
    layers = find_chain(made)
    return layers, DenseChain(layers, data.X, find_sums_loss(engine.hard_loss, None, data))


def test_loss_and_price_together_fall():
    made, engine = prepared()
    front = trained(made, engine, epochs=60)
    data, _ = samples()
    engine.set_weights(front.points[-1].weights)
    made.model(data.X, training=True)
    price = 0.1 / estimate_luts(made)
    before = engine.evaluate_loss(data) + price * estimate_luts(made)
    found = polish(*chained(made, engine, data), price, np.random.default_rng(0))
    after = engine.evaluate_loss(data) + price * estimate_luts(made)
    assert 0 < found.kept <= found.tried and after < before
    assert found.after == pytest.approx(engine.evaluate_loss(data), rel=1e-6)
    nothing = polish(*chained(made, engine, data), 1e9, np.random.default_rng(0))
    assert nothing.kept and all(
        not w.any() for layer in made.weights.values() for w in layer.integers()
    )


def test_a_single_weight_gets_its_best_value():
    """One weight and a price: the best of the values that are tried, by computing each."""
    model = keras.Sequential([keras.Input((1,)), L.Dense(1, use_bias=False, name="a")])
    made = build_precision_model(read(model), by_channel=False, tensor_bits=6)
    engine = make_engine(made.model, "mse", "sgd")
    X = np.random.default_rng(0).normal(size=(200, 1)).astype("float32")
    data = Data(X, 0.6 * X)
    wrapper = made.weights["a"]
    wrapper.bits[0].assign([[3.0]])
    for start, price in itertools.product((-3, 2, 4, 7, 9), (0.0, 1e-4, 1e-2)):
        wrapper.layer.kernel.assign([[start / 8]])
        made.model(X, training=True)
        polish(*chained(made, engine, data), price, np.random.default_rng(0))
        (value,) = wrapper.integers()[0].ravel()

        def total(integer, price=price):
            wrapper.layer.kernel.assign([[integer / 8]])
            return engine.evaluate_loss(data) + price * estimate_luts(made)

        halved = int(np.sign(start) * (abs(start) // 2))
        tried = {start, 0, halved, 2 * start, start - 1, start + 1}
        assert total(value) == pytest.approx(min(map(total, tried)))
