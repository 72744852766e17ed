"""Small images and two networks for them: what convolutional networks are compared on.

Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747), each 2×2 pixels averaged to one, as networks behind a
trigger's deadline see images. Keras downloads it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from benchmarks.workloads import Samples

__all__ = ["KINDS", "LayerMaker", "PlainLayers", "build_network", "load_images"]

KINDS = ("LeNet", "residual")
_TRAINING, _VALIDATION = 20_000, 10_000


def load_images() -> Samples:
    """Return the first images to train on, others to validate on, and the test images.

    Their shape is ``(samples, 14, 14, 1)``, their numbers are from 0 to 1.
    """
    import keras

    (X, y), (X_test, y_test) = keras.datasets.fashion_mnist.load_data()
    X, y = X[: _TRAINING + _VALIDATION], y[: _TRAINING + _VALIDATION]
    small, small_test = _shrink(X), _shrink(X_test)
    return Samples(
        small[:_TRAINING],
        y[:_TRAINING],
        small[_TRAINING:],
        y[_TRAINING:],
        small_test,
        y_test,
    )


def _shrink(images: np.ndarray) -> np.ndarray:
    squares = images.astype("float32").reshape(-1, 14, 2, 14, 2, 1)
    small: np.ndarray = squares.mean((2, 4)) / 255
    return small


class LayerMaker(Protocol):
    """Makes the layers that multiply or add; how they are quantized is its own affair."""

    def conv(self, filters: int, **options: Any) -> Any:
        """Return a convolution of 3×3."""

    def dense(self, units: int, activation: str | None) -> Any:
        """Return a dense layer."""

    def add(self) -> Any:
        """Return a sum."""


class PlainLayers:
    """Keras' own layers."""

    def conv(self, filters: int, **options: Any) -> Any:
        """Return a convolution of 3×3."""
        import keras

        return keras.layers.Conv2D(filters, 3, **options)

    def dense(self, units: int, activation: str | None) -> Any:
        """Return a dense layer."""
        import keras

        return keras.layers.Dense(units, activation=activation)

    def add(self) -> Any:
        """Return a sum."""
        import keras

        return keras.layers.Add()


def build_network(kind: str, make: LayerMaker) -> Any:
    """Return one of :data:`KINDS`: two convolutions and two dense layers, or three with a sum around two."""
    import keras

    pool = keras.layers.MaxPooling2D
    x = inputs = keras.Input((14, 14, 1))
    if kind == "LeNet":
        x = pool()(make.conv(8, activation="relu")(x))
        x = pool()(make.conv(16, activation="relu")(x))
        x = make.dense(32, "relu")(keras.layers.Flatten()(x))
    else:
        x = pool()(make.conv(8, activation="relu", padding="same")(x))
        y = make.conv(8, activation="relu", padding="same")(x)
        y = make.conv(8, padding="same")(y)
        x = keras.layers.Activation("relu")(make.add()([x, y]))
        x = keras.layers.Flatten()(make.conv(16, activation="relu", strides=2)(x))
    return keras.Model(inputs, make.dense(10, None)(x))
