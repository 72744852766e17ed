"""Models that hold functions, objects and layers of the user's own."""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from tests.common import L


def gate(x):
    return x * ops.sigmoid(1.702 * x)


def relu(x):
    """Another function under the name of one of Keras' own."""
    return ops.maximum(x, 0.1 * x)


def named(factor, name="same"):
    def same(x):
        return factor * x

    same.__name__ = name
    return same


class Swish:
    """A callable object without a configuration."""

    def __init__(self, beta):
        self.beta = beta

    def __call__(self, x):
        return x * ops.sigmoid(self.beta * x)


class Ridge(keras.regularizers.Regularizer):
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, x):
        return self.strength * ops.sum(ops.square(x))


class Start(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return ops.full(shape, 0.3, dtype)


class Clip(keras.constraints.Constraint):
    def __call__(self, w):
        return ops.clip(w, -1, 1)


class Scale(L.Layer):
    """A layer with a weight, an argument, and a layer in it."""

    def __init__(self, factor=2.0, function=None, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.function = function
        self.inner = L.Dense(3, activation=gate, name="inner")

    def build(self, shape):
        self.inner.build(shape)
        self.offset = self.add_weight(shape=(3,), initializer="normal", name="offset")

    def call(self, x):
        x = self.factor * self.inner(x) + self.offset
        return x if self.function is None else self.function(x)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 3)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "function": self.function}


class Cell(L.Layer):
    """A recurrent cell of the user's own."""

    def __init__(self, units, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, self.units), name="kernel")

    def call(self, x, states):
        h = self.activation(ops.matmul(ops.concatenate([x, states[0]], -1), self.kernel))
        return h, [h]

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "units": self.units, "activation": activation}


class Around(L.Layer):
    """A layer that is given a layer, and makes both anew."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, shape):
        self.layer.build(shape)

    def call(self, x):
        return self.layer(x) + 1.0

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)


def sequential(*parts, shape=(4,)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *parts, L.Dense(2, name="out")])


def lambdas():
    factor = 0.3
    return sequential(
        L.Lambda(lambda x: factor * x + 1, name="closure"),
        L.Lambda(gate, name="function"),
        L.Lambda(lambda x, by: x * by, arguments={"by": 2.5}, name="arguments"),
        L.Lambda(lambda x: x[:, :2], output_shape=lambda s: (s[0], 2), name="shapes"),
        L.Lambda(lambda x: x, mask=lambda x, mask: None, output_shape=(2,), name="mask"),
    )


def activations():
    return sequential(
        L.Dense(3, activation=lambda x: x * x),
        L.Dense(3, activation=named(0.5)),
        L.Dense(3, activation=named(0.25)),
        L.Dense(3, activation=relu),
        L.Dense(3, activation=functools.partial(ops.leaky_relu, negative_slope=0.3)),
        L.Dense(3, activation=Swish(1.3)),
        L.Dense(3, activation=ops.sin),
        L.Activation(named(0.7, "relu")),
        L.Dense(3, activation=L.LeakyReLU(0.4)),
    )


def objects():
    return sequential(
        L.Dense(
            3,
            kernel_initializer=Start(),
            bias_initializer=lambda shape, dtype=None: ops.full(shape, 0.2, dtype),
            kernel_regularizer=Ridge(0.7),
            bias_regularizer=lambda x: 0.1 * ops.sum(ops.abs(x)),
            activity_regularizer=lambda x: 0.01 * ops.sum(ops.abs(x)),
            kernel_constraint=Clip(),
            bias_constraint=lambda w: ops.clip(w, -0.5, 0.5),
        ),
        L.BatchNormalization(gamma_regularizer=Ridge(0.3), beta_constraint=Clip()),
    )


def two_of_one_name_in_a_layer():
    return sequential(
        L.GRU(3, activation=named(0.5), recurrent_activation=named(0.25), name="gru"), shape=(5, 4)
    )


def own_layers():
    return sequential(Scale(1.5, gate, name="a"), Scale(0.5, lambda x: x - 1, name="b"))


def wrapped():
    with keras.saving.custom_object_scope({"gate": gate}):
        both = L.Bidirectional(L.LSTM(2, activation=gate, return_sequences=True), name="both")
    return sequential(
        both,
        L.TimeDistributed(Scale(1.5, gate, name="a"), name="each"),
        L.RNN(Cell(3, lambda x: ops.tanh(2 * x)), return_sequences=True, name="own"),
        L.RNN([Cell(2, gate), L.GRUCell(2, activation=gate)], name="stacked"),
        shape=(5, 4),
    )


def given_a_layer():
    return sequential(Around(Around(L.Dense(3, activation=named(0.4)))), Around(Scale(0.7, gate)))


def nested():
    inner = keras.Sequential(
        [keras.Input((4,)), L.Lambda(lambda x: 2 * x), Scale(1.5, gate, name="a")], name="inner"
    )
    start, other = keras.Input((4,), name="start"), keras.Input((4,), name="other")
    shared = L.Dense(4, activation=named(0.3), name="shared")
    deep = keras.Model(start, shared(start), name="deep")
    joined = ops.where(other > 0, shared(other), deep(other)) + shared(deep(start))
    return keras.Model([start, other], [L.Dense(2, name="out")(inner(joined)), joined[:, 1:3]])


def attention():
    start = keras.Input((5, 4))
    layer = L.MultiHeadAttention(2, 3, kernel_initializer=Start(), kernel_regularizer=Ridge(0.1))
    return keras.Model(start, layer(start, start))


def adapted():
    layer = L.Normalization(name="norm")
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32"))
    return sequential(layer, L.Dense(3))


def half():
    policies = "mixed_float16", "mixed_bfloat16", "float32"
    return sequential(*(L.Dense(3, activation=gate, dtype=each) for each in policies))
