"""Rectifiers become activations of the layers before them, and nothing else does."""

import keras
import numpy as np
import pytest

from fabricfit.network.reader import read
from fabricfit.network.rectifiers import fuse_rectifiers
from tests.common import outputs_of

L = keras.layers
pytestmark = pytest.mark.keras


def names_of(model):
    return [layer.name for layer in model.layers if not isinstance(layer, L.InputLayer)]


def make_branches():
    x = inputs = keras.Input((6, 6, 2))
    x = L.ReLU(name="r1")(L.Conv2D(4, 3, padding="same", name="c1")(x))
    y = L.Conv2D(4, 3, padding="same", name="c2")(x)
    y = L.Activation("relu", name="r2")(L.Add(name="sum")([x, y]))
    z = L.Dense(3, name="d1")(L.Flatten(name="flat")(y))
    outputs = [L.ReLU(name="r3")(z), L.Dense(2, name="d2")(z)]
    return keras.Model(inputs, outputs)


def test_what_alone_receives_a_layer_is_its_activation():
    model = make_branches()
    X = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype("float32")
    fused = fuse_rectifiers(read(model)).model
    gone = set(names_of(model)) - set(names_of(fused))
    assert gone == {"r1"}  # r2 follows a sum, and d1 goes elsewhere, too
    assert fused.get_layer("c1").activation is keras.activations.relu
    for old, new in zip(model(X), fused(X), strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (old, new)))
    assert model.get_layer("c1").activation is keras.activations.linear


@pytest.mark.parametrize(
    "layer",
    [
        L.ReLU(max_value=6), L.ReLU(negative_slope=0.1), L.ReLU(threshold=0.5), L.LeakyReLU(),
        L.Activation("tanh"), L.Dropout(0.5),
    ],
)  # fmt: skip
def test_other_activations_stay(layer):
    network = read(keras.Sequential([keras.Input((4,)), L.Dense(3), layer, L.Dense(2)]))
    assert fuse_rectifiers(network) is network


def test_layers_that_are_called_twice_stay():
    shared, x = L.Dense(4, name="shared"), keras.Input((4,))
    model = keras.Model(x, shared(L.ReLU()(shared(x))))
    network = read(model)
    assert fuse_rectifiers(network) is network


def test_sequential_models_keep_their_kind():
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(3, name="a"), L.ReLU(), L.Dense(2, "relu", name="b"), L.ReLU()]
    )
    fused = fuse_rectifiers(read(model)).model
    assert isinstance(fused, keras.Sequential)
    assert [type(layer).__name__ for layer in fused.layers] == ["Dense", "Dense", "ReLU"]
    X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(outputs_of(model, X), outputs_of(fused, X))
