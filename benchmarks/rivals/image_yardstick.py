"""One yardstick for quantized networks of images, whoever trained them.

Keras computes them bit for bit: their numbers have fewer bits than its floats. The cost is that of the adder
graphs of all layers, each built once, as the pixels come one after another; pooling and sums of branches are
alike for everybody, and not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.rivals.yardstick import Layer, count_layer, to_exact
from benchmarks.workloads import Samples

__all__ = ["count_products", "save_answers"]


def save_answers(path: Path, models: Iterable[keras.Model], images: Samples) -> None:
    """Write the cost of each model, and which validation and test images it classifies rightly."""
    X = np.concatenate([images.X_val, images.X_test])
    y = np.concatenate([images.y_val, images.y_test])
    costs, right = [], []
    for model in models:
        costs.append(count_products(model))
        right.append(model.predict(X, batch_size=2000, verbose=0).argmax(1) == y)
    np.savez(path, costs=costs, right=right, validation=len(images.y_val))


def count_products(model: keras.Model) -> float:
    """Return the cost of the adder graphs of all layers that multiply, each built once."""
    return sum(
        count_layer(*_read(layer), rectifies=layer.activation is keras.activations.relu)
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def _read(layer: Any) -> tuple[Layer, Layer | None]:
    """Return a layer and the quantizer that follows it, as the yardstick knows them."""
    before = layer
    while (quantizer := _quantizer_of(before)) is None:
        before = before.input._keras_history.operation
    kernel = to_exact(layer.qkernel if hasattr(layer, "qkernel") else layer.kernel)
    bias = to_exact(layer.qbias if hasattr(layer, "qbias") else layer.bias)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    made = _make(quantizer, kernel.shape[-2])
    repeats = len(matrix) // kernel.shape[-2]
    parts = (np.tile(each, repeats) for each in (made.signed, made.integer, made.fractional))
    return Layer(matrix, bias, *parts, made.saturates, made.rounds), _find_behind(layer, len(bias))


def _find_behind(layer: Any, width: int) -> Layer | None:
    """Return what quantizes a layer's results, if no sum of branches comes first."""
    while layer._outbound_nodes:
        layer = layer._outbound_nodes[0].operation
        if isinstance(layer, keras.layers.Add):
            return None
        if (quantizer := _quantizer_of(layer)) is not None:
            return _make(quantizer, width)
    return None


def _quantizer_of(layer: Any) -> Any:
    """Return the quantizer that a layer is, or that its input goes through."""
    if hasattr(layer, "qkernel"):
        return layer.iq.quantizer
    return getattr(layer, "quantizer", None)


def _make(quantizer: Any, width: int) -> Layer:
    """Return a quantizer as a layer without weights; positions of a channel share the widest format."""
    parts = [_fit_to(to_exact(each).ravel(), width) for each in quantizer.kif]
    saturates = not str(quantizer.overflow_mode).upper().startswith("WRAP")
    none = np.zeros(0)
    made = Layer(none, none, *parts, saturates)
    return replace(made, rounds=str(quantizer.round_mode).upper().startswith("RND"))


def _fit_to(values: np.ndarray, width: int) -> np.ndarray:
    """Return a number for each channel, or for each channel of each position, as so many numbers."""
    if len(values) >= width:
        found: np.ndarray = values.reshape(-1, width).max(0)
        return found
    return np.tile(values, width // len(values))
