# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Convolutions: kernel ``(…, C, F)``; transposed ones: kernel ``(…, F, C)``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.description.layout import Layout
from fabricfit.layers.calls import Call
from fabricfit.layers.family import register_layer, shape_at
from fabricfit.layers.generated_code import GeneratedProduct, product_of_node
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.matrix_form import MatrixForm, Tensor
from fabricfit.layers.product import ProductFamily
from fabricfit.layers.regularizers import Conv2DRegularizer
from fabricfit.layers.scaling import meets_border, scale_columns, scale_rows
from fabricfit.layers.units import Constants, Replacement, only_zero

__all__ = ["Conv2DFamily", "ConvFamily", "ConvForm", "TransposedConvFamily", "layout_by_channel"]

L = keras.layers


@register_layer
class ConvFamily(ProductFamily):
    """Conv1D and Conv3D, and what Conv2D has in common with them; grouped convolutions excepted."""

    handles: tuple[type | str, ...] = (L.Conv1D, L.Conv3D)
    hls4ml_nodes: tuple[str, ...] = ("Conv1D", "PointwiseConv1D")
    folds_normalization = True

    def refusal(self, layer: Any) -> str:
        if layer.groups != 1:
            return f"it is a grouped convolution (groups={layer.groups})"
        return super().refusal(layer)

    def matrix_form(self, layer: Any) -> MatrixForm | None:
        return ConvForm()

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        return scale_columns(layer, self.kernels(layer)[0].axes, axis, scale, offset)

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if layer.groups != 1 or (meets_border(layer) and offset.any()):
            return None
        return scale_rows(layer, self.kernels(layer)[0].axes, axis, scale, offset)

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        return product_of_node(node, structs)

    def obstacle(self, call: Call) -> str | None:
        groups = call.layer.groups
        if groups != 1:
            return f"{call.name!r} is a convolution in {groups} groups"
        return super().obstacle(call)


@register_layer
class Conv2DFamily(ConvFamily):
    """Conv2D, whose filters are regularized as images."""

    handles = (L.Conv2D,)
    hls4ml_nodes = ("Conv2D", "PointwiseConv2D")
    regularizer = Conv2DRegularizer


@register_layer
class TransposedConvFamily(ProductFamily):
    """Conv1DTranspose, Conv2DTranspose and Conv3DTranspose.

    Near the borders fewer inputs meet, so that only the constant 0 is the same everywhere.
    """

    handles = (L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        shape = tuple(layer.kernel.shape)
        last = len(shape) - 1
        rows = (*range(last - 1), last)
        layout = Layout(shape, rows, (last - 1,), (last - 1,))
        # Each input position meets every weight once.
        inputs = shape_at(layer, "input")
        spatial = inputs[:-1] if layer.data_format == "channels_last" else inputs[1:]
        positions = math.prod(length or 1 for length in spatial) if inputs else None
        return (Kernel(layer.kernel, layer, bias=layer.bias, layout=layout, positions=positions),)

    def refusal(self, layer: Any) -> str:
        return ""

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        return scale_columns(layer, self.kernels(layer)[0].axes, axis, scale, offset)

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if offset.any():
            return None
        return scale_rows(layer, self.kernels(layer)[0].axes, axis, scale, offset)

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} adds up fewer inputs near the border than inside"

    def _known_inputs(self, call: Call, constants: Constants) -> Constants:
        return only_zero(constants)


class ConvForm(MatrixForm):
    """Convolutions of any rank, plain, grouped or depthwise; a row is a patch of the input.

    Parameters
    ----------
    by_channel
        Whether every channel is a group of its own: kernel ``(…, C, M)``.
    """

    def __init__(self, *, by_channel: bool = False) -> None:
        self._by_channel = by_channel

    def layout(self, layer: Any) -> Layout:
        """See :meth:`MatrixForm.layout`."""
        if not self._by_channel:
            return super().layout(layer)
        return layout_by_channel(layer.kernel)

    def rows(self, layer: Any, inputs: Tensor) -> Tensor:
        """See :meth:`MatrixForm.rows`; the order of a row is that of the kernel's axes."""
        if layer.data_format == "channels_first":
            inputs = ops.moveaxis(inputs, 1, -1)
        samples, *lengths, channels = inputs.shape
        windows = [
            _Window(*axis, layer.padding)
            for axis in zip(
                lengths, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
            )
        ]
        padded = ops.pad(inputs, [(0, 0), *(window.padding for window in windows), (0, 0)])
        shifted = [
            padded[(slice(None), *slices, slice(None))]
            for slices in itertools.product(*(window.slices for window in windows))
        ]
        groups = channels if self._by_channel else channels // layer.kernel.shape[-2]
        stacked = ops.stack(shifted, axis=-2)
        positions = math.prod(stacked.shape[1:-2])
        cut = ops.reshape(stacked, (samples, positions, len(shifted), groups, channels // groups))
        turned = ops.transpose(cut, (0, 1, 3, 2, 4))
        return ops.reshape(turned, (samples, positions, groups, -1))

    def restore(self, layer: Any, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :meth:`MatrixForm.restore`."""
        if layer.data_format == "channels_last":
            return ops.reshape(columns, shape)
        return ops.moveaxis(ops.reshape(columns, (shape[0], *shape[2:], shape[1])), -1, 1)


def layout_by_channel(kernel: Any) -> Layout:
    """Return the layout of a kernel ``(…, C, M)`` that works on each channel by itself."""
    shape = tuple(kernel.shape)
    channel, multiple = len(shape) - 2, len(shape) - 1
    units = (channel, multiple)
    return Layout(shape, tuple(range(channel)), units, units)


class _Window:
    """A kernel's extent along one axis: the padding, and a strided slice for each of its places."""

    def __init__(self, length: int, size: int, stride: int, dilation: int, padding: str) -> None:
        reach = (size - 1) * dilation
        before = after = 0
        if padding == "causal":
            before = reach
        elif padding == "same":
            total = max((-(-length // stride) - 1) * stride + reach + 1 - length, 0)
            before, after = total // 2, total - total // 2
        count = (length + before + after - reach - 1) // stride + 1
        self.padding = (before, after)
        self.slices = [
            slice(place * dilation, place * dilation + (count - 1) * stride + 1, stride)
            for place in range(size)
        ]
