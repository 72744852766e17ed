"""Convolutions: kernel ``(…, C, F)``; transposed ones: kernel ``(…, F, C)``."""

from __future__ import annotations

import math
from typing import Any

import keras

from fabricfit.description.layout import Layout
from fabricfit.layers.base import Kernel, LayerHandler, register_layer, shape_at
from fabricfit.layers.dense import why_not_its_own
from fabricfit.layers.regularizers import Conv2DRegularizer, GroupRegularizer

__all__ = ["ConvHandler", "TransposedConvHandler"]

L = keras.layers


class ConvHandler(LayerHandler):
    """Conv1D, Conv2D and Conv3D, grouped convolutions excepted."""

    def __init__(self, kind: type, regularizer: type[GroupRegularizer] = GroupRegularizer) -> None:
        self._kind = kind
        self.regularizer = regularizer

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is the convolution itself."""
        return layer_type is self._kind

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernel."""
        return (Kernel(layer.kernel, layer, bias=layer.bias),)

    def refusal(self, layer: Any) -> str:
        """Refuse what hls4ml's matrix product does not describe."""
        if layer.groups != 1:
            return f"it is a grouped convolution (groups={layer.groups})"
        return why_not_its_own(layer)


class TransposedConvHandler(LayerHandler):
    """Conv1DTranspose, Conv2DTranspose and Conv3DTranspose."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is one of the three."""
        return layer_type in (L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernel, whose last axis but one makes the results."""
        shape = tuple(layer.kernel.shape)
        last = len(shape) - 1
        rows = (*range(last - 1), last)
        layout = Layout(shape, rows, (last - 1,), (last - 1,))
        # Each input position meets every weight once.
        inputs = shape_at(layer, "input")
        spatial = inputs[:-1] if layer.data_format == "channels_last" else inputs[1:]
        positions = math.prod(length or 1 for length in spatial) if inputs else None
        return (Kernel(layer.kernel, layer, bias=layer.bias, layout=layout, positions=positions),)


register_layer(ConvHandler(L.Conv1D))
register_layer(ConvHandler(L.Conv2D, Conv2DRegularizer))
register_layer(ConvHandler(L.Conv3D))
register_layer(TransposedConvHandler())
