"""Chains of dense layers whose numbers change one by one, against an evaluation of the whole network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.losses import ModelLoss
from fabricfit.network.reader import read
from fabricfit.precision.dense_chain import DenseChain, find_chain
from fabricfit.precision.model import build_precision_model
from fabricfit.precision.start import start_bits
from fabricfit.precision.sums_loss import find_sums_loss
from fabricfit.samples import Data
from fabricfit.training import make_engine
from tests.common import L
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

LOSSES = {
    "sparse": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), None),
    "probabilities": (keras.losses.SparseCategoricalCrossentropy(), "softmax"),
    "dense": (keras.losses.CategoricalCrossentropy(from_logits=True), None),
    "squares": (keras.losses.MeanSquaredError(), "sigmoid"),
}


def build(by_channel, activation, use_bias=True, separate=False):
    keras.utils.set_random_seed(3)
    hidden = [L.Dense(9, use_bias=use_bias), L.ReLU()] if separate else [L.Dense(9, "relu")]
    model = keras.Sequential(
        [keras.Input((5,)), *hidden, L.Dense(6, "relu"), L.Dense(3, activation, name="last")]
    )
    made = build_precision_model(
        read(model), by_channel=by_channel, limits={0: np.full(5 if by_channel else 1, 2.0)}
    )
    X = np.random.default_rng(0).normal(size=(3000, 5)).astype("float32")
    start_bits(made, [X])
    return made, X


def give(layers, chain, place, index, value):
    """Give the network the numbers of a chain, one of them another value."""
    for number, wrapper in enumerate(layers):
        weights, biases = chain.weights[number].copy(), chain.biases[number].copy()
        if number == place:
            (biases if len(index) == 1 else weights)[index] = value
        wrapper.layer.kernel.assign(weights)
        wrapper.bits[0].assign(np.full(weights.shape, 12.0))
        if wrapper.layer.bias is not None:
            wrapper.layer.bias.assign(biases)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("separate", [False, True])
def test_every_change_gives_the_loss_of_the_whole_network(loss, separate):
    function, activation = LOSSES[loss]
    made, X = build(not separate, activation, use_bias=not separate, separate=separate)
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 3, len(X))
    data = Data(X, classes if function.name.startswith("sparse") else np.eye(3)[classes])
    engine = make_engine(made.model, function, "sgd")
    layers = find_chain(made)
    assert [each.layer.units for each in layers] == [9, 6, 3]
    chain = DenseChain(
        layers, X, find_sums_loss(ModelLoss(function), layers[-1].layer.activation, data)
    )
    assert chain.loss == pytest.approx(engine.evaluate_loss(data), rel=1e-5)
    for _ in range(25):
        place = int(rng.integers(3))
        row, unit = (int(rng.integers(size)) for size in chain.weights[place].shape)
        has_bias = layers[place].layer.bias is not None
        index = (unit,) if has_bias and rng.random() < 0.3 else (row, unit)
        value = float(rng.integers(-8, 9)) / 8
        change = chain.change(place, index, value, most=np.inf)
        give(layers, chain, place, index, value)
        assert change.loss == pytest.approx(engine.evaluate_loss(data), rel=1e-5, abs=1e-7)
        if rng.random() < 0.6:
            chain.accept(change)
            assert chain.loss == pytest.approx(change.loss, rel=1e-9)


def test_what_clearly_does_not_pay_is_not_computed():
    made, X = build(True, None)
    classes = np.random.default_rng(2).integers(0, 3, len(X))
    layers, data = find_chain(made), Data(X, classes)
    function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    chain = DenseChain(layers, X, find_sums_loss(ModelLoss(function), None, data))
    assert chain.change(2, (0,), 30.0, most=0.0) is None
    assert chain.change(2, (0,), 30.0, most=np.inf).loss > chain.loss + 1


def test_other_networks_are_no_chains():
    inputs = keras.Input((4,))
    hidden = L.Dense(4, "relu")
    branched = L.Add()([hidden(inputs), inputs])
    networks = [
        keras.Model(inputs, L.Dense(2)(branched)),
        keras.Sequential([keras.Input((4,)), L.Dense(4, "tanh"), L.Dense(2)]),
        keras.Sequential([keras.Input((4,)), L.Dense(4), L.Dense(2)]),
        keras.Sequential([keras.Input((4,)), L.Dense(4, "relu"), L.Dense(2), L.ReLU()]),
        keras.Sequential([keras.Input((4, 2)), L.Dense(4, "relu"), L.Flatten(), L.Dense(2)]),
        keras.Model(inputs, L.Dense(2)(hidden(hidden(inputs)))),
        keras.Model(inputs, [hidden(inputs), L.Dense(2)(hidden(inputs))]),
    ]
    assert all(find_chain(build_precision_model(read(each))) is None for each in networks)
