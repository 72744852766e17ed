"""Convolutions of each channel by itself: kernel ``(…, C, M)``, without and with a pointwise one behind."""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.description.layout import Layout
from fabricfit.layers.base import CONSTANTS_ONLY, Kernel, LayerHandler, register_layer

__all__ = ["DepthwiseHandler", "SeparableHandler", "depthwise_kernel", "depthwise_layout"]

L = keras.layers


class DepthwiseHandler(LayerHandler):
    """DepthwiseConv1D and DepthwiseConv2D."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is one of the two."""
        return layer_type in (L.DepthwiseConv1D, L.DepthwiseConv2D)

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernel; each channel and multiple of it is a unit."""
        return (depthwise_kernel(layer, layer.kernel),)


class SeparableHandler(LayerHandler):
    """SeparableConv1D and SeparableConv2D: two kernels, the bias belongs to the second one."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is one of the two."""
        return layer_type in (L.SeparableConv1D, L.SeparableConv2D)

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the depthwise and the pointwise kernel."""
        depthwise, pointwise = layer.depthwise_kernel, layer.pointwise_kernel
        return (
            Kernel(
                depthwise,
                layer,
                "depthwise_kernel",
                layout=depthwise_layout(depthwise),
                regularizer="depthwise_regularizer",
                weight_name="depthwise",
                strategies=CONSTANTS_ONLY,
                inner=True,
            ),
            Kernel(
                pointwise,
                layer,
                "pointwise_kernel",
                layer.bias,
                regularizer="pointwise_regularizer",
                weight_name="pointwise",
            ),
        )


def depthwise_kernel(layer: Any, variable: Any) -> Kernel:
    """Return the only kernel of a depthwise convolution."""
    return Kernel(
        variable,
        layer,
        bias=layer.bias,
        layout=depthwise_layout(variable),
        regularizer="depthwise_regularizer",
        strategies=CONSTANTS_ONLY,
    )


def depthwise_layout(kernel: Any) -> Layout:
    """Return the layout of a kernel ``(…, C, M)`` that works on each channel by itself."""
    shape = tuple(kernel.shape)
    channel, multiple = len(shape) - 2, len(shape) - 1
    units = (channel, multiple)
    return Layout(shape, tuple(range(channel)), units, units)


register_layer(DepthwiseHandler())
register_layer(SeparableHandler())
