"""Fully connected layers: kernel ``(n_in, n_out)``."""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.layers.base import Kernel, LayerHandler, register_layer
from fabricfit.layers.regularizers import DenseRegularizer

__all__ = ["DenseHandler", "why_not_its_own"]


class DenseHandler(LayerHandler):
    """``keras.layers.Dense``, on inputs of any rank."""

    regularizer = DenseRegularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is Dense itself."""
        return layer_type is keras.layers.Dense

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernel."""
        return (Kernel(layer.kernel, layer, bias=layer.bias),)

    def refusal(self, layer: Any) -> str:
        """Refuse a layer whose kernel is not its own float tensor."""
        return why_not_its_own(layer)


def why_not_its_own(layer: Any) -> str:
    """Say why a layer's kernel is not a float tensor of its own, or ``''`` where it is."""
    if getattr(layer, "lora_enabled", False):
        return "LoRA is enabled, so that its kernel is a sum"
    if getattr(layer, "quantization_mode", None):
        return f"Keras has quantized it to {layer.quantization_mode}, which cannot be trained"
    return ""


register_layer(DenseHandler())
