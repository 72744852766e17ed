"""Quantized layers of qkeras-v3: QDense and QConv2D.

They are told by the names of their classes, so that nothing here imports QKeras: that would choose a
Keras backend for the whole process.
"""

from __future__ import annotations

import keras
import numpy as np

from fabricfit.keras.layers.base import LayerHandler, register_layer
from fabricfit.keras.regularizers import Conv2DRegularizer, DenseRegularizer
from fabricfit.precision import FixedPrecision

__all__ = ["QConv2DHandler", "QDenseHandler"]


class _QKerasHandler(LayerHandler):
    layer_name: str

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is the QKeras class (HGQ2 ships a package of the same name)."""
        return (
            layer_type.__module__.split(".")[0] == "qkeras"
            and layer_type.__name__ == self.layer_name
        )

    def refusal(self, layer: keras.layers.Layer) -> str:
        """Refuse a quantizer that has no zero: a pruned weight would come back."""
        if not hasattr(layer, "kernel_quantizer_internal"):
            return "it has no kernel_quantizer_internal, so it is not a layer of qkeras-v3"
        quantizer = layer.kernel_quantizer_internal
        if quantizer is None:
            return ""
        zeros = keras.ops.zeros(tuple(self.kernel(layer).shape))
        if np.any(keras.ops.convert_to_numpy(quantizer(zeros))):
            return f"its kernel quantizer {quantizer} has no zero"
        return ""

    def kernel_precision(self, layer: keras.layers.Layer) -> FixedPrecision | None:
        """Read the format of a ``quantized_bits`` quantizer."""
        quantizer = getattr(layer, "kernel_quantizer_internal", None)
        bits, integer = getattr(quantizer, "bits", None), getattr(quantizer, "integer", None)
        if bits is None or integer is None:
            return None
        sign = int(bool(getattr(quantizer, "keep_negative", True)))
        # The quantizer itself rounds, to the nearest and half-way to the even one.
        return FixedPrecision(int(bits), int(integer) + sign, bool(sign), "RND_CONV")


class QDenseHandler(_QKerasHandler):
    """``qkeras.QDense``."""

    layer_name = "QDense"
    regularizer = DenseRegularizer


class QConv2DHandler(_QKerasHandler):
    """``qkeras.QConv2D``."""

    layer_name = "QConv2D"
    regularizer = Conv2DRegularizer


register_layer(QDenseHandler())
register_layer(QConv2DHandler())
