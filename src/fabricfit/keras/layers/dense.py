"""Fully connected layers: kernel ``(n_in, n_out)``."""

from __future__ import annotations

import keras

from fabricfit.keras.layers.base import LayerHandler, register_layer
from fabricfit.keras.regularizers import DenseRegularizer

__all__ = ["DenseHandler"]


class DenseHandler(LayerHandler):
    """``keras.layers.Dense``, on inputs of any rank."""

    regularizer = DenseRegularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is Dense itself."""
        return layer_type is keras.layers.Dense

    def refusal(self, layer: keras.layers.Layer) -> str:
        """Refuse a layer whose kernel is not its own float tensor."""
        if getattr(layer, "lora_enabled", False):
            return "LoRA is enabled, so that its kernel is a sum"
        if getattr(layer, "quantization_mode", None):
            return f"Keras has quantized it to {layer.quantization_mode}, which cannot be trained"
        return ""


register_layer(DenseHandler())
