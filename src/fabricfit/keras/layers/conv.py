"""Convolutions: kernel ``(H, W, C, F)``."""

from __future__ import annotations

import keras

from fabricfit.keras.layers.base import LayerHandler, register_layer
from fabricfit.keras.regularizers import Conv2DRegularizer

__all__ = ["Conv2DHandler"]


class Conv2DHandler(LayerHandler):
    """``keras.layers.Conv2D``, grouped convolutions excepted."""

    regularizer = Conv2DRegularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is Conv2D itself (a transposed one has other axes)."""
        return layer_type is keras.layers.Conv2D

    def refusal(self, layer: keras.layers.Layer) -> str:
        """Refuse what hls4ml's matrix product does not describe."""
        if layer.groups != 1:
            return f"it is a grouped convolution (groups={layer.groups})"
        if getattr(layer, "lora_enabled", False):
            return "LoRA is enabled, so that its kernel is a sum"
        return ""


register_layer(Conv2DHandler())
