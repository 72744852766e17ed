"""Quantized layers of qkeras-v3: each like the layer of Keras that it quantizes.

They are told by the names of their classes, so that nothing here imports QKeras: that would choose a
Keras backend for the whole process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.keras.layers.base import Kernel, LayerHandler, register_layer
from fabricfit.keras.layers.conv import ConvHandler, TransposedConvHandler
from fabricfit.keras.layers.dense import DenseHandler
from fabricfit.keras.layers.depthwise import DepthwiseHandler, SeparableHandler
from fabricfit.keras.layers.recurrent import recurrent_kernels
from fabricfit.keras.regularizers import Conv2DRegularizer
from fabricfit.precision import FixedPrecision

__all__ = ["QKerasHandler"]

L = keras.layers


class QKerasHandler(LayerHandler):
    """A layer of QKeras, read as its counterpart in Keras is.

    Parameters
    ----------
    name
        The layer's class.
    plain
        The handler of the layer that it quantizes; None for recurrent layers.
    gates
        Of a recurrent layer.
    """

    def __init__(self, name: str, plain: LayerHandler | None = None, gates: int = 0) -> None:
        self._name = name
        self._plain = plain
        self._gates = gates
        if plain is not None:
            self.regularizer = plain.regularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is the QKeras class (HGQ2 ships a package of the same name)."""
        return layer_type.__module__.split(".")[0] == "qkeras" and layer_type.__name__ == self._name

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernels with their quantizers."""
        plain = self._plain
        found = plain.kernels(layer) if plain else recurrent_kernels(layer, self._gates)
        return tuple(self._quantized(kernel) for kernel in found)

    def _quantized(self, kernel: Kernel) -> Kernel:
        quantizer = getattr(kernel.owner, _quantizer_name(kernel), None)
        return replace(kernel, quantizer=quantizer, precision=_precision(quantizer))

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


for _handler in (
    QKerasHandler("QDense", DenseHandler()),
    QKerasHandler("QConv1D", ConvHandler(L.Conv1D)),
    QKerasHandler("QConv2D", ConvHandler(L.Conv2D, Conv2DRegularizer)),
    QKerasHandler("QConv2DTranspose", TransposedConvHandler()),
    QKerasHandler("QDepthwiseConv2D", DepthwiseHandler()),
    QKerasHandler("QSeparableConv1D", SeparableHandler()),
    QKerasHandler("QSeparableConv2D", SeparableHandler()),
    QKerasHandler("QSimpleRNN", gates=1),
    QKerasHandler("QLSTM", gates=4),
    QKerasHandler("QGRU", gates=3),
):
    register_layer(_handler)
