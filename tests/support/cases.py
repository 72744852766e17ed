"""Every layer type that fabricfit knows, in a model as small as it can be."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

L = keras.layers

__all__ = ["CASES", "VARIANTS", "Case", "build", "is_installed"]


@dataclass(frozen=True)
class Case:
    """A layer in a model.

    Parameters
    ----------
    name
        What it is called in the table.
    shape
        Shape of a sample.
    make
        Makes the layer, whose name is given.
    inputs
        How often the sample is passed to the layer: attention takes it as query and as value.
    before
        Class of a convolution in front, whose units this layer passes on.
    family
        The package that the layer is of.
    words
        Samples are numbers of words, so many of them; 0 for real numbers.
    """

    name: str
    shape: tuple[int, ...]
    make: Callable[[str], Any]
    inputs: int = 1
    words: int = 0
    before: type | None = None
    family: str = "keras"

    def samples(self, count: int, seed: int = 0) -> np.ndarray:
        """Return random samples."""
        rng = np.random.default_rng(seed)
        if self.words:
            return rng.integers(0, self.words, (count, *self.shape)).astype("int32")
        return rng.normal(size=(count, *self.shape)).astype("float32")


def build(case: Case, seed: int = 0) -> keras.Model:
    """Return a model of the layer and a classifier behind it, with biases that are not zero."""
    keras.utils.set_random_seed(seed)
    x = given = keras.Input(case.shape, name="given", dtype="int32" if case.words else "float32")
    if case.before is not None:
        x = case.before(case.shape[-1], 1, name="first")(x)
    layer = case.make("layer")
    x = layer(*([x] * case.inputs))
    if len(x.shape) > 2:
        x = L.Flatten(name="flatten")(x)
    x = L.Dense(3, name="out")(x)
    model = keras.Model(given, L.Activation("softmax", name="probabilities")(x))
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "bias" in variable.name:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


def _wrapped(make: Callable[[], Any], wrapper: Any) -> Callable[[str], Any]:
    return lambda name: wrapper(make(), name=name)


def is_installed(family: str) -> bool:
    """Return whether a package is there; HGQ2 ships another one by the name of QKeras."""
    try:
        package = importlib.import_module(family)
    except ImportError:
        return False
    return family != "qkeras" or hasattr(package, "QDense")


def _case(
    kind: str, shape: tuple[int, ...], make: Any, *args: Any, inputs: int = 1, before: Any = None,
    **options: Any,
) -> Case:  # fmt: skip
    family, title = ("qkeras", "QKeras") if make is _of_qkeras else ("hgq", "HGQ2")
    return Case(
        f"{title} {kind}", shape, make(kind, *args, **options), inputs, before=before, family=family
    )


def _of_qkeras(
    kind: str, *args: Any, kernels: tuple[str, ...] = ("kernel",), **options: Any
) -> Any:
    """Return what makes a layer of QKeras with 8 bits, two of them before the point."""

    def make(name: str) -> Any:
        qkeras = importlib.import_module("qkeras")
        quantizers = {
            f"{each}_quantizer": qkeras.quantized_bits(8, 1, alpha=1) for each in (*kernels, "bias")
        }
        layer = getattr(qkeras, kind)(*args, **quantizers, **options)
        layer.name = name  # recurrent layers take none
        return layer

    return make


def _of_hgq(kind: str, *args: Any, **options: Any) -> Any:
    """Return what makes a layer of HGQ2 with its own defaults."""
    return lambda name: getattr(importlib.import_module("hgq.layers"), kind)(
        *args, name=name, **options
    )


_RECURRENT = ("kernel", "recurrent")
_SMOOTH = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_SEPARABLE = ("depthwise", "pointwise")

CASES = [
    Case("Dense", (6,), lambda name: L.Dense(8, "relu", name=name)),
    Case("Dense on sequences", (5, 4), lambda name: L.Dense(6, "relu", name=name)),
    Case("EinsumDense", (4, 6), lambda name: L.EinsumDense("abc,cd->abd", (4, 8), bias_axes="d", name=name)),
    Case("Conv1D", (8, 3), lambda name: L.Conv1D(6, 3, activation="relu", name=name)),
    Case("Conv2D", (6, 6, 2), lambda name: L.Conv2D(6, 3, activation="relu", name=name)),
    Case("Conv3D", (4, 4, 4, 2), lambda name: L.Conv3D(4, 2, activation="relu", name=name)),
    Case("Conv1DTranspose", (5, 3), lambda name: L.Conv1DTranspose(4, 3, strides=2, name=name)),
    Case("Conv2DTranspose", (4, 4, 2), lambda name: L.Conv2DTranspose(4, 3, strides=2, name=name)),
    Case("Conv3DTranspose", (3, 3, 3, 2), lambda name: L.Conv3DTranspose(3, 2, name=name)),
    Case("DepthwiseConv1D", (8, 4), lambda name: L.DepthwiseConv1D(3, name=name), before=L.Conv1D),
    Case("DepthwiseConv2D", (6, 6, 4), lambda name: L.DepthwiseConv2D(3, name=name), before=L.Conv2D),
    Case("SeparableConv1D", (8, 4), lambda name: L.SeparableConv1D(6, 3, name=name)),
    Case("SeparableConv2D", (6, 6, 3), lambda name: L.SeparableConv2D(6, 3, name=name)),
    Case("SimpleRNN", (5, 4), lambda name: L.SimpleRNN(6, name=name)),
    Case("LSTM", (5, 4), lambda name: L.LSTM(6, name=name)),
    Case("GRU", (5, 4), lambda name: L.GRU(6, name=name)),
    Case("Bidirectional LSTM", (5, 4), _wrapped(lambda: L.LSTM(4), L.Bidirectional)),
    Case("Bidirectional GRU", (5, 4), _wrapped(lambda: L.GRU(4, return_sequences=True), L.Bidirectional)),
    Case("TimeDistributed Dense", (5, 4), _wrapped(lambda: L.Dense(6, "relu"), L.TimeDistributed)),
    Case("TimeDistributed Conv2D", (2, 5, 5, 2), _wrapped(lambda: L.Conv2D(4, 3), L.TimeDistributed)),
    Case("MultiHeadAttention", (5, 6), lambda name: L.MultiHeadAttention(3, 4, name=name), inputs=2),
    Case(
        "GroupQueryAttention", (5, 6), lambda name: L.GroupQueryAttention(4, 4, 2, name=name), inputs=2
    ),
    Case("Embedding", (5,), lambda name: L.Embedding(10, 6, name=name), words=10),
    _case("QDense", (6,), _of_qkeras, 8),
    _case("QConv1D", (8, 3), _of_qkeras, 6, 3),
    _case("QConv2D", (6, 6, 2), _of_qkeras, 6, 3),
    _case("QConv2DTranspose", (4, 4, 2), _of_qkeras, 4, 3),
    _case("QDepthwiseConv2D", (6, 6, 4), _of_qkeras, 3, kernels=("depthwise",), before=L.Conv2D),
    _case("QSeparableConv1D", (8, 4), _of_qkeras, 6, 3, kernels=_SEPARABLE),
    _case("QSeparableConv2D", (6, 6, 3), _of_qkeras, 6, 3, kernels=_SEPARABLE),
    _case("QSimpleRNN", (5, 4), _of_qkeras, 6, kernels=_RECURRENT, activation="tanh"),
    _case("QLSTM", (5, 4), _of_qkeras, 6, kernels=_RECURRENT, **_SMOOTH),
    _case("QGRU", (5, 4), _of_qkeras, 6, kernels=_RECURRENT, **_SMOOTH),
    _case("QDense", (6,), _of_hgq, 8, activation="relu"),
    _case("QEinsumDense", (4, 6), _of_hgq, "abc,cd->abd", (4, 8), bias_axes="d"),
    _case("QBatchNormDense", (6,), _of_hgq, 8),
    _case("QEinsumDenseBatchnorm", (4, 6), _of_hgq, "abc,cd->abd", (4, 8), bias_axes="d"),
    _case("QConv1D", (8, 3), _of_hgq, 6, 3, activation="relu"),
    _case("QConv2D", (6, 6, 2), _of_hgq, 6, 3, activation="relu"),
    _case("QConv3D", (3, 3, 3, 2), _of_hgq, 3, 2),
    _case("QSimpleRNN", (5, 4), _of_hgq, 6),
    _case("QGRU", (5, 4), _of_hgq, 6),
    _case("QMultiHeadAttention", (5, 6), _of_hgq, 3, 4, inputs=2),
]  # fmt: skip

_IMAGE = (7, 6, 2)
VARIANTS = [
    Case("Dense without bias", (6,), lambda name: L.Dense(8, "tanh", use_bias=False, name=name)),
    Case("Dense with a sigmoid on images", (3, 4, 4), lambda name: L.Dense(3, "sigmoid", name=name)),
    Case("Dense with elu", (6,), lambda name: L.Dense(5, "elu", name=name)),
    Case("Dense with leaky_relu", (6,), lambda name: L.Dense(5, "leaky_relu", name=name)),
    Case("Conv1D causal", (8, 3), lambda name: L.Conv1D(4, 3, padding="causal", strides=2, name=name)),
    Case("Conv1D same", (8, 3), lambda name: L.Conv1D(4, 3, padding="same", use_bias=False, name=name)),
    Case("Conv2D strided", _IMAGE, lambda name: L.Conv2D(3, 3, (1, 2), "same", activation="relu", name=name)),
    Case("Conv2D pointwise", _IMAGE, lambda name: L.Conv2D(3, 1, 2, name=name)),
    Case("DepthwiseConv2D strided", _IMAGE, lambda name: L.DepthwiseConv2D(3, 2, "same", name=name)),
    Case("LSTM sequences", (5, 4), lambda name: L.LSTM(3, return_sequences=True, use_bias=False, name=name)),
    Case("GRU sequences", (5, 4), lambda name: L.GRU(3, return_sequences=True, name=name)),
]  # fmt: skip
"""Options of layers of the table that make other code."""
