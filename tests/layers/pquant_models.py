"""Small models of PQuantML, trained for a few steps with its own functions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pquant
from pquant.core.keras import layers as pq
from pquant.core.keras.activations import PQActivation, PQSoftmax
from pquant.core.keras.train import PQuantCallback

__all__ = ["configure", "convolutions", "dense", "images", "samples", "sequences", "train"]

_TRAINING = ("pruning_first",)


def configure(method="pdp", sparsity=0.4, **options):
    """Return settings of PQuantML: data of 1 + 2 + 5 bits, one epoch of each stage, and others."""
    config = getattr(pquant, f"{method}_config")()
    training, quantization = config.training_parameters, config.quantization_parameters
    training.pretraining_epochs = training.epochs = training.fine_tuning_epochs = 1
    training.rewind = "never"
    if method == "pdp":
        config.pruning_parameters.sparsity = sparsity
        config.pruning_parameters.epsilon = 1.0
    if method == "cs":
        config.pruning_parameters.threshold_init = 0.01
    data = {"keep_negatives": 1.0, "integer_bits": 2.0, "fractional_bits": 5.0}
    for name, value in {f"default_data_{key}": each for key, each in data.items()}.items():
        setattr(quantization, name, value)
    for name, value in options.items():
        setattr(training if name in _TRAINING else quantization, name, value)
    return config


def dense(config: Any, activation="relu", inputs=8, outputs=3, widths=(8, 6)):
    """Return a dense network that rounds its results."""
    keras.utils.set_random_seed(0)
    x = given = keras.Input((inputs,), name="given")
    for number, width in enumerate(widths, 1):
        x = pq.PQDense(config, width, name=f"fc{number}")(x)
        x = PQActivation(config, activation, name=f"act{number}")(x)
    return keras.Model(given, pq.PQDense(config, outputs, name="out", quantize_output=True)(x))


def images(config: Any):
    """Return a network of convolutions, a normalization, a pooling and a softmax."""
    keras.utils.set_random_seed(0)
    given = keras.Input((6, 6, 2), name="given")
    x = pq.PQConv2d(config, 3, 3, use_bias=True, padding="same", name="conv")(given)
    x = pq.PQBatchNormalization(config, name="norm")(x)
    x = PQActivation(config, "relu", name="act")(x)
    x = pq.PQAvgPool2d(config, 2, quantize_output=True, name="pool")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(given, PQSoftmax(config, name="softmax")(pq.PQDense(config, 3)(x)))


def convolutions(config: Any):
    """Return a network of a depthwise and a separable convolution."""
    keras.utils.set_random_seed(0)
    given = keras.Input((6, 6, 2), name="given")
    x = pq.PQDepthwiseConv2d(config, 3, padding="same", name="depthwise")(given)
    x = PQActivation(config, "relu", name="act1")(x)
    x = pq.PQSeparableConv2d(config, 3, 3, quantize_output=True, name="separable")(x)
    x = PQActivation(config, "hard_tanh", name="act2")(x)
    return keras.Model(given, pq.PQDense(config, 3, name="out")(keras.layers.Flatten()(x)))


def sequences(config: Any):
    """Return a network whose results of a convolution are added to what it received."""
    keras.utils.set_random_seed(0)
    given = keras.Input((6, 2), name="given")
    x = pq.PQConv1d(config, 3, 3, padding="same", name="conv1")(given)
    x = PQActivation(config, "relu", quantize_output=True, name="act1")(x)
    y = pq.PQConv1d(config, 3, 3, padding="same", quantize_output=True, name="conv2")(x)
    x = PQActivation(config, "relu", name="act2")(keras.layers.Add(name="add")([x, y]))
    x = keras.layers.Flatten()(pq.PQAvgPool1d(config, 2, name="pool")(x))
    x = pq.PQDense(config, 3, use_bias=False, name="out")(x)
    return keras.Model(given, PQActivation(config, "tanh", quantize_output=True, name="tanh")(x))


def samples(model: Any, number=64):
    """Return random inputs, beyond the formats of some, and targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(0, 2, (number, *model.input_shape[1:])).astype("float32")
    return X, rng.normal(0, 1, (number, *model.output_shape[1:])).astype("float32")


def train(model: Any, config: Any, final=True, data=None, loss="mse"):
    """Train a model through all stages of PQuantML, and return it."""
    X, y = samples(model, 16) if data is None else data
    stages = PQuantCallback(
        config, log_ebops=False, log_keep_ratio=False, apply_final_compression=final
    )
    # Compiled steps would take longer to compile than to run.
    model.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=True)
    model.fit(X, y, epochs=stages.total_epochs, callbacks=[stages], batch_size=32, verbose=0)
    return model
