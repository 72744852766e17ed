"""Subclassed models, by the graph of their own call."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.errors import InvalidInputError
from fabricfit.keras import OptimizationSettings
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.network.reader import read
from fabricfit.network.tracing import traced
from fabricfit.objectives import ParameterEstimator
from fabricfit.scheduler import ConstantScheduler
from fabricfit.surgery.reduction import plan_reduction, reduce_model
from tests.common import L, blobs, outputs_of, weights_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


class Block(keras.Model):
    """A model inside one; a Sequential inside that."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.inner = keras.Sequential([L.Dense(units, "relu", name="a"), L.Dense(units, name="b")])

    def call(self, x):
        return self.inner(x)


class Net(keras.Model):
    def __init__(self, units=8):
        super().__init__(name="net")
        self.first = L.Dense(units, activation="relu", name="first")
        self.norm = L.BatchNormalization(name="norm")
        self.block = Block(units, name="block")
        self.drop = L.Dropout(0.1)
        self.out = L.Dense(3, activation="softmax", name="out")

    def call(self, x, training=None):
        x = self.norm(self.first(x), training=training)
        x = self.drop(x + self.block(x), training=training)
        return self.out(keras.ops.relu(x))


class Pair(keras.Model):
    """Several inputs and outputs, by name, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.shared = L.Dense(4, "relu", name="shared")
        self.out = L.Dense(3, name="out")

    def call(self, inputs):
        left, right = self.shared(inputs["left"]), self.shared(inputs["right"])
        return {"sum": self.out(left + right), "difference": self.out(left - right)}


def called(model, data):
    model(data)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture
def net():
    keras.utils.set_random_seed(0)
    return called(Net(), np.zeros((2, 8), "float32"))


def test_a_copy_of_the_graph_computes_the_same_and_leaves_no_trace(net):
    X = np.random.default_rng(1).normal(size=(16, 8)).astype("float32")
    expected = outputs_of(net, X)
    nodes = [len(layer._inbound_nodes) for layer in net._flatten_layers()]
    plain = traced(net)
    np.testing.assert_allclose(outputs_of(plain, X), expected, rtol=1e-5, atol=1e-6)
    assert [len(layer._inbound_nodes) for layer in net._flatten_layers()] == nodes
    for variable in plain.variables:
        variable.assign(np.zeros(variable.shape))
    np.testing.assert_array_equal(outputs_of(net, X), expected)


def test_inputs_and_outputs_by_name():
    rng = np.random.default_rng(1)
    data = {key: rng.normal(size=(5, 6)).astype("float32") for key in ("left", "right")}
    model = called(Pair(), data)
    found, expected = traced(model)(data), model(data)
    assert set(found) == set(expected)
    for key in expected:
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (found[key], expected[key])))


def test_a_subclassed_model_is_optimized(net, tmp_path):
    data = blobs(256, 8)
    before = weights_of(net)
    attributes = get_attributes_from_keras_model(net)
    assert {"first", "a", "b", "out"} <= set(attributes)
    assert attributes["first"].output_shape == (8,)
    settings = OptimizationSettings(
        batch_size=64, epochs=3, optimizer="adam", loss_fn="sparse_categorical_crossentropy",
        validation_metric="accuracy", increasing=True, rtol=None, tuner=None, directory=tmp_path,
        regularization_range=[1e-6],
    )  # fmt: skip
    result = fabricfit.optimize(
        net, attributes, ParameterEstimator, ConstantScheduler(0, 0.5, 0.25), data, data, settings
    )
    assert result.report.sparsity == 0.5 and isinstance(result.model, keras.Model)
    assert all(
        (layer.get_weights()[0] == 0).any()
        for layer in map(result.model.get_layer, ("first", "out"))
    )
    for old, new in zip(before, weights_of(net), strict=True):
        np.testing.assert_array_equal(old, new)


def test_zero_units_of_a_subclassed_model_are_removed(net):
    a_kernel, a_bias = net.block.inner.layers[0].get_weights()
    a_kernel[:, 2] = 0
    net.block.inner.layers[0].set_weights([a_kernel, a_bias])
    reduced = reduce_model(net)
    assert plan_reduction(net).n_removed == 1
    X = np.random.default_rng(1).normal(size=(16, 8)).astype("float32")
    np.testing.assert_allclose(outputs_of(reduced, X), outputs_of(net, X), rtol=1e-5, atol=1e-6)


class Stepping(Net):
    def train_step(self, data):
        return super().train_step(data)


class Forking(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = L.Dense(3)

    def call(self, x):
        return self.out(x) if float(keras.ops.sum(x)) > 0 else self.out(-x)


@pytest.mark.parametrize(
    ("make", "call", "message"),
    [
        (Net, False, "Call it on a batch"),
        (Stepping, True, "train_step of its own"),
        (Forking, True, "cannot be run on symbols.*functional API"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_the_reason(make, call, message):
    model = make()
    if call:
        model(np.zeros((2, 8), "float32"))
    for function in (read, reduce_model, get_attributes_from_keras_model):
        with pytest.raises(InvalidInputError, match=message):
            function(model)
