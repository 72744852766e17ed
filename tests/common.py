"""Small models, data and objectives that several test files share."""

from __future__ import annotations

import keras
import numpy as np

import fabricfit
from fabricfit.description.attributes import OptimizationAttributes
from fabricfit.network.describe import get_attributes_from_keras_model
from fabricfit.objectives import ParameterEstimator
from fabricfit.training import Penalty, make_engine

L = keras.layers


def weights_of(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def kernel_of(model, name):
    return np.array(keras.ops.convert_to_numpy(model.get_layer(name).kernel))


def outputs_of(model, X):
    tensors = model(X, training=False)
    return keras.tree.map_structure(lambda t: np.array(keras.ops.convert_to_numpy(t)), tensors)


def described(model, **changes):
    """Attributes of a model whose units may all be pruned."""
    attributes = get_attributes_from_keras_model(model)
    for layer in attributes.values():
        if layer.weight_shape:
            layer.optimizable = True
            options = {"pruning": True, **changes}
            layer.optimization_attributes = OptimizationAttributes("structured", **options)
    return attributes


def engine_for(model, attributes):
    """An engine with penalties."""
    return make_engine(
        model, "sparse_categorical_crossentropy", "adam", attributes, 0, Penalty(model, attributes)
    )


def mlp(inputs=6, hidden=8, outputs=3, activation="relu", seed=0):
    """A small classifier with non-zero biases."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            L.Dense(hidden, activation=activation, bias_initializer="normal", name="fc1"),
            L.Dense(hidden, activation=activation, bias_initializer="normal", name="fc2"),
            L.Dense(outputs, activation="softmax", name="out"),
        ]
    )


def lenet(seed=0):
    """A small convolutional classifier of 8 x 8 images."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            L.Conv2D(4, 3, activation="relu", name="conv1"),
            L.MaxPooling2D(name="pool"),
            L.Conv2D(6, 2, activation="relu", name="conv2"),
            L.Flatten(name="flatten"),
            L.Dense(12, activation="relu", name="fc"),
            L.Dense(4, activation="softmax", name="out"),
        ]
    )


def blobs(samples=256, inputs=6, classes=3, seed=0):
    """Points around one centre a class: easy to learn."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (classes, inputs))
    y = rng.integers(0, classes, samples).astype("int32")
    X = (centres[y] + rng.normal(0, 1, (samples, inputs))).astype("float32")
    return X, y


def estimator(structure, *, pruning=True, weight_sharing=False, **shape):
    """An objective that counts weights, in groups of a given structure."""

    class Parameters(ParameterEstimator):
        @classmethod
        def is_layer_optimizable(cls, layer_attributes):
            if not layer_attributes.weight_shape:
                return False, None
            size = int(np.prod(layer_attributes.weight_shape))
            settings = {"pattern_offset": max(size // 4, 1), "block_shape": (4, 2), **shape}
            return True, OptimizationAttributes(structure, pruning, weight_sharing, **settings)

        @classmethod
        def layer_savings(cls, layer_attributes):
            return [layer_attributes.grouping.group_size]

    return Parameters


def quick_settings(directory, **changes):
    """Settings of a run of a classifier that is over in seconds: two epochs, no search, any metric."""
    options = {
        "batch_size": 32,
        "epochs": 2,
        "optimizer": "adam",
        "loss_fn": "sparse_categorical_crossentropy",
        "validation_metric": "accuracy",
        "increasing": True,
        "rtol": None,
        "tuner": None,
        "directory": str(directory),
    }
    return fabricfit.OptimizationSettings(**{**options, **changes})
