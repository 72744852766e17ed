# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Quantized layers of qkeras-v3: each like the layer of Keras that it quantizes.

They are recognized by the names of their classes, so that nothing here imports QKeras: that would choose a
Keras backend for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.precision import FixedPrecision
from fabricfit.errors import InvalidInputError
from fabricfit.layers.calls import Call
from fabricfit.layers.conv import Conv2DFamily, ConvFamily, TransposedConvFamily
from fabricfit.layers.dense import DenseFamily
from fabricfit.layers.depthwise import DepthwiseFamily, SeparableFamily
from fabricfit.layers.elementwise import ActivationFamily
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.plain_layers import PlainLayer, make_alike, to_arrays
from fabricfit.layers.quantized import (
    LayerView,
    QuantizedFamily,
    RoundingFamily,
    namesake,
    without_constants,
)
from fabricfit.layers.recurrent import RecurrentFamily
from fabricfit.layers.units import Cut, to_numpy

__all__ = [
    "QActivationFamily",
    "QKerasFamily",
    "QNormalizationFamily",
    "QNormalizedFamily",
    "QPoolingFamily",
    "plain_activation",
]

_KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")
_Quantizer = Callable[[Any], Any]


class QKerasFamily(QuantizedFamily):
    """Layers of QKeras, read as their counterparts in Keras are.

    A quantizer whose scale depends on the whole kernel is asked again with the smaller one.
    """

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return tuple(_with_quantizers(kernel) for kernel in self.plain.kernels(layer))

    def refusal(self, layer: Any) -> str:
        """Refuse a quantizer that has no zero: a pruned weight would come back."""
        for kernel in self.kernels(layer):
            name = _quantizer_name(kernel)
            if not hasattr(kernel.owner, name):
                return f"it has no {name}, so it is not a layer of qkeras-v3"
            if kernel.quantizer is None:
                continue
            zeros = kernel.quantizer(keras.ops.zeros(kernel.shape))
            if np.any(keras.ops.convert_to_numpy(zeros)):
                return f"its kernel quantizer {kernel.quantizer} has no zero"
        return self.plain.refusal(layer)

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        owner = getattr(layer, "cell", layer)
        if not any(name.endswith("_quantizer_internal") for name in vars(owner)):
            return f"the quantizers of {call.name!r} cannot be read"
        if getattr(layer, "_mask", None) is not None:
            return f"{call.name!r} has a mask of its own"
        return self.plain.obstacle(call)

    def why_inexact(self, call: Call, cut: Cut) -> str | None:
        smaller = self.replacement(call, cut).weights
        expected = self.plain.replacement(self.quantized(call), without_constants(cut)).weights
        found = (q(part) for q, part in zip(self._quantizers(call.layer), smaller, strict=True))
        if all(map(np.array_equal, found, expected)):
            return None
        return f"the scale of the quantizers of {call.name!r} depends on what would be removed"

    def quantized(self, call: Call) -> Call:
        quantizers = list(self._quantizers(call.layer))
        return replace(call, layer=_with_quantized_weights(call.layer, quantizers))

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        view, behind = _without_quantized_activations(layer)
        own = self.plain.plain_layers(view)
        if own is None:
            own = (PlainLayer(make_alike(view, namesake(layer)), self._latent_weights(layer)),)
        return (*own, *behind)

    def _latent_weights(self, layer: Any) -> list[np.ndarray]:
        """Return the weights as floats, those that a mask of the layer's own hides at zero."""
        kernels = self.plain.kernels(layer)
        biases = [kernel.bias for kernel in kernels if kernel.bias is not None]
        first, *others = to_arrays([*(kernel.variable for kernel in kernels), *biases[:1]])
        mask = getattr(layer, "_mask", None)
        return [first if mask is None else first * to_arrays([mask])[0], *others]

    def _quantizers(self, layer: Any) -> Iterator[_Quantizer]:
        return _fresh_quantizers(layer, self.kernels(layer))


@register_layer
class QActivationFamily(ActivationFamily):
    """QActivation, which quantizes; some of its functions work unit by unit."""

    handles = ("qkeras.QActivation",)
    piecewise_linear = False
    final_activation = None

    def quantizes(self, layer: Any) -> bool:
        return True

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        return _behind(layer, layer.name, plain_activation(layer.activation))


class QPoolingFamily(RoundingFamily):
    """Averages of QKeras, which round one over the number that is averaged; an activation behind."""

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        pooling = make_alike(layer, namesake(layer))
        return (PlainLayer(pooling), *_behind_activation(layer))


class QNormalizationFamily(RoundingFamily):
    """Batch normalization with quantized parameters."""

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        weights = to_arrays(_normalization_weights(layer))
        return (PlainLayer(make_alike(layer, namesake(layer)), weights),)


class QNormalizedFamily(RoundingFamily):
    """Products with a batch normalization inside: the two, and the activation, are layers of their own.

    Parameters
    ----------
    handles
        The layer types.
    plain
        The family of the product.
    """

    def __init__(self, handles: tuple[type | str, ...], plain: LayerFamily) -> None:
        super().__init__(handles)
        self.plain = plain

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        (kernel,), inner = self.plain.kernels(layer), layer.batchnorm
        kind = getattr(keras.layers, type(layer).__name__[1:].removesuffix("Batchnorm"))
        product = make_alike(layer, kind, activation=None)
        own = [kernel.variable, *([] if kernel.bias is None else [kernel.bias])]
        normalization = make_alike(
            inner, keras.layers.BatchNormalization, name=f"{layer.name}_normalization"
        )
        return (
            PlainLayer(product, to_arrays(own)),
            PlainLayer(normalization, to_arrays(_normalization_weights(inner))),
            *_behind_activation(layer),
        )


def plain_activation(activation: Any) -> Any:
    """Return what a quantizer of QKeras computes before it rounds: a function, or a new layer of Keras.

    Parameters
    ----------
    activation
        What a layer holds as an activation; functions of Keras, and None, are returned as they are.

    Raises
    ------
    InvalidInputError
        No layer of Keras computes that; says why.
    """
    kind = type(activation)
    if kind.__module__.partition(".")[0] != "qkeras":
        return activation
    rounded = _ROUNDED.get(kind.__name__)
    found = None if rounded is None else rounded(activation)
    if found is None:
        raise InvalidInputError(
            f"its activation {activation} rounds no function of Keras. Use quantized_bits, quantized_relu, "
            "or quantized_tanh and quantized_sigmoid with the real function (use_real_tanh=True, "
            "use_real_sigmoid=True)"
        )
    return found


def _rectified(quantizer: Any) -> Any:
    """Return the rectifier of a quantizer, with its slope and its bound."""
    if getattr(quantizer, "use_sigmoid", False):
        return None
    bound, slope = getattr(quantizer, "relu_upper_bound", None), quantizer.negative_slope
    if bound is not None and not quantizer.is_quantized_clip:
        return keras.layers.ReLU(max_value=bound, negative_slope=slope)
    return keras.layers.LeakyReLU(negative_slope=slope) if slope else keras.activations.relu


def _linear(quantizer: Any) -> Any:
    signed = getattr(quantizer, "keep_negative", True)
    return keras.activations.linear if signed else keras.activations.relu


_ROUNDED: dict[str, Callable[[Any], Any]] = {
    "quantized_bits": _linear,
    "quantized_linear": _linear,
    "quantized_po2": _linear,
    "quantized_relu": _rectified,
    "quantized_relu_po2": _rectified,
    "quantized_sigmoid": lambda q: keras.activations.sigmoid if q.use_real_sigmoid else None,
    "quantized_tanh": lambda q: keras.activations.tanh if q.use_real_tanh else None,
}
"""Quantizer -> what it computes before it rounds and saturates; None where that is its own."""


def _without_quantized_activations(layer: Any) -> tuple[LayerView, tuple[PlainLayer, ...]]:
    """Return a layer as it is without quantizers in its activations, and a layer of the activation behind."""
    names = [name for name in ("activation", "recurrent_activation") if hasattr(layer, name)]
    found = {name: plain_activation(getattr(layer, name)) for name in names}
    if not isinstance(found["activation"], keras.layers.Layer):
        return LayerView(layer, found), ()
    if hasattr(layer, "cell"):
        raise InvalidInputError(f"its activation {layer.activation} is no function of Keras")
    return LayerView(layer, {**found, "activation": None}), _behind_activation(layer)


def _behind_activation(layer: Any) -> tuple[PlainLayer, ...]:
    """Return the activation of a layer as one of its own, if there is one."""
    found = plain_activation(layer.activation)
    kind = getattr(found, "__name__", type(found).__name__.lower())
    return _behind(layer, f"{layer.name}_{kind}", found)


def _behind(layer: Any, name: str, function: Any) -> tuple[PlainLayer, ...]:
    if function in (None, keras.activations.linear):
        return ()
    if isinstance(function, keras.layers.Layer):
        function.name = name
        return (PlainLayer(function),)
    return (PlainLayer(keras.layers.Activation(function, name=name, dtype=layer.dtype_policy)),)


def _normalization_weights(layer: Any) -> Iterator[Any]:
    """Yield the weights of a batch normalization in Keras' order."""
    yield from (each for each in (layer.gamma, layer.beta) if each is not None)
    yield from (layer.moving_mean, layer.moving_variance)


def _with_quantizers(kernel: Kernel) -> Kernel:
    quantizer = getattr(kernel.owner, _quantizer_name(kernel), None)
    return replace(
        kernel,
        quantizer=quantizer,
        bias_quantizer=getattr(kernel.owner, "bias_quantizer_internal", None),
        precision=_precision(quantizer),
    )


def _quantizer_name(kernel: Kernel) -> str:
    return kernel.regularizer.replace("_regularizer", "_quantizer_internal")


def _precision(quantizer: Any) -> FixedPrecision | None:
    """Read the format of a ``quantized_bits`` quantizer."""
    bits, integer = getattr(quantizer, "bits", None), getattr(quantizer, "integer", None)
    if bits is None or integer is None:
        return None
    sign = int(bool(getattr(quantizer, "keep_negative", True)))
    # The quantizer itself rounds, to the nearest and half-way to the even one.
    return FixedPrecision(int(bits), int(integer) + sign, bool(sign), "RND_CONV")


def _with_quantized_weights(layer: Any, quantizers: list[_Quantizer]) -> LayerView:
    """Return a layer as it would be if its weights were those that it multiplies by."""
    weights = [q(w) for q, w in zip(quantizers, layer.get_weights(), strict=True)]
    owner = getattr(layer, "cell", layer)
    names = [
        name
        for name in (*_KERNELS, "bias")
        if isinstance(getattr(owner, name, None), keras.Variable)
    ]
    others = {
        name: weights[place]
        for name in names
        for place, variable in enumerate(layer.weights)
        if variable is getattr(owner, name, None)
    }
    if owner is not layer:
        others = {"cell": LayerView(owner, others)}
    return LayerView(layer, {**others, "get_weights": lambda: weights})


def _fresh_quantizers(layer: Any, kernels: tuple[Kernel, ...]) -> Iterator[_Quantizer]:
    """Yield the quantizer of each weight of a layer, in their order.

    They are of a fresh layer: a quantizer may remember the scale of its last call.
    """
    fresh = type(layer).from_config(layer.get_config())
    owner = getattr(fresh, "cell", fresh)
    names = [kernel.regularizer.partition("_")[0] for kernel in kernels]
    if len(layer.weights) > len(names):
        names.append("bias")
    for name in names:
        quantizer = getattr(owner, f"{name}_quantizer_internal")
        yield to_numpy if quantizer is None else _as_arrays(quantizer)


def _as_arrays(quantizer: _Quantizer) -> _Quantizer:
    return lambda weights: to_numpy(quantizer(keras.ops.convert_to_tensor(weights)))


for _plain, _names in {
    DenseFamily: ("QDense",),
    ConvFamily: ("QConv1D",),
    Conv2DFamily: ("QConv2D",),
    TransposedConvFamily: ("QConv2DTranspose",),
    DepthwiseFamily: ("QDepthwiseConv2D",),
    SeparableFamily: ("QSeparableConv1D", "QSeparableConv2D"),
    RecurrentFamily: ("QSimpleRNN", "QLSTM", "QGRU"),
}.items():
    register_layer(QKerasFamily(tuple(f"qkeras.{name}" for name in _names), _plain()))

for _plain, _name in {
    DenseFamily: "QDenseBatchnorm",
    Conv2DFamily: "QConv2DBatchnorm",
    DepthwiseFamily: "QDepthwiseConv2DBatchnorm",
}.items():
    register_layer(QNormalizedFamily((f"qkeras.{_name}",), _plain()))
register_layer(QNormalizationFamily(("qkeras.QBatchNormalization",)))
register_layer(QPoolingFamily(("qkeras.QAveragePooling2D", "qkeras.QGlobalAveragePooling2D")))
