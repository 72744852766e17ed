"""Small models, each with data, a loss and the same mean loss in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from . import numpy_networks as npn


@dataclass
class Case:
    model: Any
    loss_fn: Any
    X: Any
    y: Any
    oracle: npn.Loss
    keys: tuple[str, ...] = ()

    @property
    def variables(self) -> dict[str, Any]:
        layers_ = [layer for layer in self.model.layers if hasattr(layer, "kernel")]
        return {x.name: x.kernel for x in layers_ if not self.keys or x.name in self.keys}

    def only(self, *keys: str) -> Case:
        """Return this case for some of the kernels."""
        self.keys = keys
        return self

    @property
    def kernels(self) -> npn.Kernels:
        """The present values of the kernels, in double precision."""
        return {
            key: np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
            for key, variable in self.variables.items()
        }


def randomize(model: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """Give a model the same random weights on every backend; layer/variable -> float64 value."""
    rng = np.random.default_rng(seed)
    values = {}
    for variable in model.weights:
        value = rng.normal(0, 0.6, variable.shape)
        value = np.abs(value) + 0.5 if "variance" in variable.path else value
        variable.assign(value.astype(np.float32))
        values[_short(variable)] = value.astype(np.float32).astype(np.float64)
    return values


def _short(variable: Any) -> str:
    return "/".join(variable.path.split("/")[-2:])


def data(*shape: int, classes: int, n: int = 17) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, *shape)).astype(np.float32), rng.integers(0, classes, n)


def _mlp(activation: str, function: Callable[[np.ndarray], np.ndarray]) -> Case:
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(5, activation=activation, name="a"),
            layers.Dense(4, activation=activation, name="b"),
            layers.Dense(3, activation="softmax", name="c"),
        ]
    )
    w = randomize(model)
    X, y = data(4, classes=3)

    def oracle(k: npn.Kernels) -> float:
        h = function(X.astype(np.float64) @ k["a"] + w["a/bias"])
        h = function(h @ k["b"] + w["b/bias"])
        return npn.cross_entropy(h @ k["c"] + w["c/bias"], y)

    return Case(model, "sparse_categorical_crossentropy", X, y, oracle)


def relu_mlp() -> Case:
    return _mlp("relu", npn.relu)


def tanh_mlp() -> Case:
    return _mlp("tanh", np.tanh)


def linear_regression() -> Case:
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1, name="a")])
    w = randomize(model)
    X, _ = data(4, classes=2)
    y = np.random.default_rng(2).normal(size=len(X))

    def oracle(k: npn.Kernels) -> float:
        return float(np.mean((X.astype(np.float64) @ k["a"] + w["a/bias"] - y[:, None]) ** 2))

    return Case(model, "mse", X, y, oracle)


def _convnet(activation: str, function: Callable[[np.ndarray], np.ndarray]) -> Case:
    model = keras.Sequential(
        [
            layers.Input((7, 7, 2)),
            layers.Conv2D(3, 2, activation=activation, name="a"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, strides=2, activation=activation, name="b"),
            layers.Flatten(),
            layers.Dense(3, name="c"),
            layers.Activation("softmax"),
        ]
    )
    w = randomize(model)
    X, y = data(7, 7, 2, classes=3, n=9)

    def oracle(k: npn.Kernels) -> float:
        h = npn.max_pool(function(npn.conv(X.astype(np.float64), k["a"]) + w["a/bias"]))
        h = function(npn.conv(h, k["b"], stride=2) + w["b/bias"])
        return npn.cross_entropy(h.reshape(len(h), -1) @ k["c"] + w["c/bias"], y)

    return Case(model, "categorical_crossentropy", X, np.eye(3)[y], oracle)


def relu_convnet() -> Case:
    return _convnet("relu", npn.relu)


def tanh_convnet() -> Case:
    return _convnet("tanh", np.tanh)


def batch_norm() -> Case:
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(5, name="a"),
            layers.BatchNormalization(epsilon=1e-3, name="n"),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="sigmoid", name="b"),
        ]
    )
    w = randomize(model)
    X, _ = data(4, classes=2)
    y = np.random.default_rng(2).integers(0, 2, (len(X), 2))

    def oracle(k: npn.Kernels) -> float:
        h = X.astype(np.float64) @ k["a"] + w["a/bias"]
        h = (h - w["n/moving_mean"]) / np.sqrt(w["n/moving_variance"] + 1e-3)
        h = npn.relu(h * w["n/gamma"] + w["n/beta"])
        z = h @ k["b"] + w["b/bias"]
        return float(np.mean(np.logaddexp(0, z) - y * z))

    return Case(model, keras.losses.BinaryCrossentropy(), X, y, oracle)


def shared_layer() -> Case:
    inputs = keras.Input((4,))
    shared = layers.Dense(4, activation="tanh", name="a")
    outputs = layers.Dense(3, name="b")(shared(shared(inputs)))
    model = keras.Model(inputs, outputs)
    w = randomize(model)
    X, y = data(4, classes=3)

    def oracle(k: npn.Kernels) -> float:
        h = np.tanh(X.astype(np.float64) @ k["a"] + w["a/bias"])
        h = np.tanh(h @ k["a"] + w["a/bias"])
        return npn.cross_entropy(h @ k["b"] + w["b/bias"], y)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Case(model, loss, X, y, oracle)


def softmax_and_squares() -> Case:
    """A loss whose Hessian is neither diagonal, nor of softmax cross-entropy, nor positive."""
    case = relu_mlp()
    w = {_short(v): keras.ops.convert_to_numpy(v) for v in case.model.weights}
    y = np.eye(3)[case.y]

    def oracle(k: npn.Kernels) -> float:
        h = npn.relu(case.X.astype(np.float64) @ k["a"] + w["a/bias"])
        h = npn.relu(h @ k["b"] + w["b/bias"])
        return float(np.mean((npn.softmax(h @ k["c"] + w["c/bias"]) - y) ** 2))

    return Case(case.model, "mse", case.X, y, oracle)


def two_outputs() -> Case:
    inputs = {"left": keras.Input((4,), name="left"), "right": keras.Input((3,), name="right")}
    left = layers.Dense(3, activation="relu", name="a")(inputs["left"])
    both = layers.Concatenate()([left, inputs["right"]])
    outputs = [
        layers.Dense(2, name="b")(both),
        layers.Dense(1, activation="sigmoid", name="c")(left),
    ]
    model = keras.Model(inputs, outputs)
    w = randomize(model)
    X = {"left": data(4, classes=2)[0], "right": data(3, classes=2)[0]}
    rng = np.random.default_rng(2)
    y = [rng.normal(size=(17, 2)), rng.random((17, 1))]

    def oracle(k: npn.Kernels) -> float:
        h = npn.relu(X["left"].astype(np.float64) @ k["a"] + w["a/bias"])
        first = np.concatenate([h, X["right"]], axis=1) @ k["b"] + w["b/bias"]
        second = 1 / (1 + np.exp(-(h @ k["c"] + w["c/bias"])))
        return float(np.mean((first - y[0]) ** 2) + np.mean((second - y[1]) ** 2))

    return Case(model, "mse", X, y, oracle)


PIECEWISE_LINEAR = [
    relu_mlp,
    linear_regression,
    relu_convnet,
    batch_norm,
    softmax_and_squares,
    two_outputs,
]
SMOOTH = [tanh_mlp, tanh_convnet, shared_layer]
