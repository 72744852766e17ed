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
from fabricfit.layers.calls import Call
from fabricfit.layers.conv import Conv2DFamily, ConvFamily, TransposedConvFamily
from fabricfit.layers.dense import DenseFamily
from fabricfit.layers.depthwise import DepthwiseFamily, SeparableFamily
from fabricfit.layers.elementwise import ActivationFamily
from fabricfit.layers.family import register_layer
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.quantized import LayerView, QuantizedFamily, without_constants
from fabricfit.layers.recurrent import RecurrentFamily
from fabricfit.layers.units import Cut, to_numpy

__all__ = ["QActivationFamily", "QKerasFamily"]

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

    def _quantizers(self, layer: Any) -> Iterator[_Quantizer]:
        return _fresh_quantizers(layer, self.kernels(layer))


@register_layer
class QActivationFamily(ActivationFamily):
    """QActivation, which quantizes; some of its functions work unit by unit."""

    handles = ("qkeras.QActivation",)
    piecewise_linear = False
    final_activation = None


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
