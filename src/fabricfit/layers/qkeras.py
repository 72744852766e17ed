"""Quantized layers of qkeras-v3: each like the layer of Keras that it quantizes.

They are told by the names of their classes, so that nothing here imports QKeras: that would choose a
Keras backend for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from fabricfit.description.precision import FixedPrecision
from fabricfit.layers.base import Kernel, LayerHandler, register_layer
from fabricfit.layers.conv import ConvHandler, TransposedConvHandler
from fabricfit.layers.dense import DenseHandler
from fabricfit.layers.depthwise import SeparableHandler, depthwise_kernel
from fabricfit.layers.recurrent import recurrent_kernels
from fabricfit.layers.regularizers import Conv2DRegularizer

__all__ = ["QKerasHandler"]

L = keras.layers


class QKerasHandler(LayerHandler):
    """A layer of QKeras, read as its counterpart in Keras is.

    Parameters
    ----------
    name
        The layer's class.
    read
        Returns the kernels of the layer that it quantizes.
    plain
        The handler of that layer, which may refuse it.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[Any], tuple[Kernel, ...]] | None = None,
        plain: LayerHandler | None = None,
    ) -> None:
        found = read or (plain.kernels if plain is not None else None)
        assert found is not None
        self._name, self._read, self._plain = name, found, plain
        if plain is not None:
            self.regularizer = plain.regularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is the QKeras class (HGQ2 ships a package of the same name)."""
        return layer_type.__module__.split(".")[0] == "qkeras" and layer_type.__name__ == self._name

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernels with their quantizers."""
        return tuple(self._quantized(kernel) for kernel in self._read(layer))

    def _quantized(self, kernel: Kernel) -> Kernel:
        quantizer = getattr(kernel.owner, _quantizer_name(kernel), None)
        return replace(
            kernel,
            quantizer=quantizer,
            bias_quantizer=getattr(kernel.owner, "bias_quantizer_internal", None),
            precision=_precision(quantizer),
        )

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
        return self._plain.refusal(layer) if self._plain is not None else ""


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


def _depthwise(layer: Any) -> tuple[Kernel, ...]:
    return (depthwise_kernel(layer, layer.depthwise_kernel),)


for _name, _plain in {
    "QDense": DenseHandler(),
    "QConv1D": ConvHandler(L.Conv1D),
    "QConv2D": ConvHandler(L.Conv2D, Conv2DRegularizer),
    "QConv2DTranspose": TransposedConvHandler(),
    "QSeparableConv1D": SeparableHandler(),
    "QSeparableConv2D": SeparableHandler(),
}.items():
    register_layer(QKerasHandler(_name, plain=_plain))
for _name, _gates in {"QSimpleRNN": 1, "QLSTM": 4, "QGRU": 3}.items():
    register_layer(QKerasHandler(_name, partial(recurrent_kernels, gates=_gates)))
register_layer(QKerasHandler("QDepthwiseConv2D", _depthwise))
