# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Convolutions of each channel by itself: kernel ``(…, C, M)``, without and with a pointwise one behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.description.strategies import CONSTANTS_ONLY, NO_GRAPH
from fabricfit.layers.activations import activate, why_units_mix
from fabricfit.layers.calls import Call
from fabricfit.layers.conv import ConvForm, layout_by_channel
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.generated_code import GeneratedProduct, product_of_node
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.matrix_form import MatrixForm
from fabricfit.layers.plain_layers import PlainLayer, make_alike, to_arrays
from fabricfit.layers.product import ProductFamily, why_kernel_is_rewritten, why_not_plain
from fabricfit.layers.scaling import channel_axis, is_linear, meets_border, with_bias
from fabricfit.layers.units import (
    Constants,
    Cut,
    Link,
    Numbers,
    Replacement,
    Wiring,
    only_zero,
    to_numpy,
)

__all__ = ["DepthwiseFamily", "SeparableFamily"]

L = keras.layers

_BUILT_INSTEAD = {**NO_GRAPH, "resource_unrolled": "latency"}


@register_layer
class DepthwiseFamily(LayerFamily):
    """DepthwiseConv1D and DepthwiseConv2D: each channel and multiple of it is a unit.

    Output ``i * multiplier + m`` is of input i.
    """

    handles: tuple[type | str, ...] = (L.DepthwiseConv1D, L.DepthwiseConv2D)
    hls4ml_nodes = ("DepthwiseConv1D", "DepthwiseConv2D")
    folds_normalization = True
    passes_units = True
    shareable = False
    piecewise_linear = True
    final_activation = "activation"
    own_work = ElementwiseWork.FREE

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        variable = _kernel_of(layer)
        return (
            Kernel(
                variable,
                layer,
                bias=layer.bias,
                layout=layout_by_channel(variable),
                regularizer="depthwise_regularizer",
                strategies=CONSTANTS_ONLY,
                built_instead=_BUILT_INSTEAD,
                reuse_shape=_as_if_full(variable),
                input_axis=len(variable.shape) - 2,
            ),
        )

    def matrix_form(self, layer: Any) -> MatrixForm | None:
        return ConvForm(by_channel=True)

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if axis != channel_axis(layer) or not is_linear(layer):
            return None
        kernel, bias = to_numpy(layer.kernel), to_numpy(layer.bias) if layer.use_bias else 0.0
        scaled = kernel * scale.reshape(kernel.shape[-2:])
        return with_bias(layer, [scaled], scale * bias + offset)

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if axis != channel_axis(layer) or why_kernel_is_rewritten(layer, "") is not None:
            return None
        if meets_border(layer) and offset.any():
            return None
        kernel, bias = to_numpy(layer.kernel), to_numpy(layer.bias) if layer.use_bias else 0.0
        return with_bias(layer, [kernel * scale[:, None]], bias + _sum_offsets(kernel, offset))

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        axes = ("filt_height", "filt_width", "n_filt")
        return tuple(
            replace(product, axes=axes, counts_constants=False)
            for product in product_of_node(node, structs)
        )

    def obstacle(self, call: Call) -> str | None:
        return why_not_plain(call, 1)

    def pins_output(self, call: Call) -> str | None:
        return why_units_mix(call.layer.activation)

    def links(self, call: Call) -> list[Link]:
        outputs = np.arange(call.output.units or 0)
        return [Link(0, outputs // call.layer.depth_multiplier, outputs)]

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        layer = call.layer
        known = inputs[0] if layer.padding == "valid" else only_zero(inputs[0])
        known = np.repeat(known, layer.depth_multiplier)
        kernel = to_numpy(_kernel_of(layer)).reshape(-1, known.size)
        unused = (kernel == 0).all(axis=0)
        sums = np.where(unused, 0.0, known * kernel.sum(axis=0))
        bias = to_numpy(layer.bias) if layer.use_bias else 0.0
        return activate(layer.activation, sums + bias)

    def zero_units(self, call: Call) -> np.ndarray:
        kernel = to_numpy(_kernel_of(call.layer))
        return (kernel.reshape(-1, call.output.units or 1) == 0).all(axis=0)

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {"": Wiring(None, numbers.output)}

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        kernel, *bias = call.layer.get_weights()
        weights = [kernel[..., cut.kept_inputs[0], :], *(b[cut.kept_output] for b in bias)]
        return Replacement(weights=weights)


@register_layer
class SeparableFamily(ProductFamily):
    """SeparableConv1D and SeparableConv2D: a depthwise and a pointwise kernel, together one product.

    The bias belongs to the second one.
    """

    handles: tuple[type | str, ...] = (L.SeparableConv1D, L.SeparableConv2D)
    own_work = ElementwiseWork.COMPARE
    folds_normalization = True

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        depthwise, pointwise = layer.depthwise_kernel, layer.pointwise_kernel
        return (
            Kernel(
                depthwise,
                layer,
                "depthwise_kernel",
                layout=layout_by_channel(depthwise),
                regularizer="depthwise_regularizer",
                weight_name="depthwise",
                strategies=CONSTANTS_ONLY,
                built_instead=_BUILT_INSTEAD,
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

    def refusal(self, layer: Any) -> str:
        return ""

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if axis != channel_axis(layer) or not is_linear(layer):
            return None
        depthwise, pointwise = to_numpy(layer.depthwise_kernel), to_numpy(layer.pointwise_kernel)
        bias = to_numpy(layer.bias) if layer.use_bias else 0.0
        return with_bias(layer, [depthwise, pointwise * scale], scale * bias + offset)

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if axis != channel_axis(layer) or (meets_border(layer) and offset.any()):
            return None
        depthwise, pointwise = to_numpy(layer.depthwise_kernel), to_numpy(layer.pointwise_kernel)
        matrix = pointwise.reshape(-1, pointwise.shape[-1])
        bias = to_numpy(layer.bias) if layer.use_bias else 0.0
        bias = bias + _sum_offsets(depthwise, offset) @ matrix
        return with_bias(layer, [depthwise * scale[:, None], pointwise], bias)

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        rank = len(layer.kernel_size)
        first = make_alike(
            layer,
            getattr(L, f"DepthwiseConv{rank}D"),
            name=f"{layer.name}_depthwise",
            activation=None,
            use_bias=False,
            bias_regularizer=None,
            bias_constraint=None,
            activity_regularizer=None,
        )
        second = make_alike(
            layer,
            getattr(L, f"Conv{rank}D"),
            kernel_size=1,
            strides=1,
            dilation_rate=1,
            padding="valid",
            kernel_regularizer=layer.pointwise_regularizer,
            kernel_constraint=layer.pointwise_constraint,
        )
        bias = [layer.bias] if layer.use_bias else []
        return (
            PlainLayer(first, to_arrays([layer.depthwise_kernel])),
            PlainLayer(second, to_arrays([layer.pointwise_kernel, *bias])),
        )

    def obstacle(self, call: Call) -> str | None:
        return why_not_plain(call, 2)

    def matrices(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        depthwise, pointwise = to_numpy(layer.depthwise_kernel), to_numpy(layer.pointwise_kernel)
        inputs, multiplier = depthwise.shape[-2:]
        pointwise = pointwise.reshape(inputs, multiplier, -1)
        kernel = np.einsum("tim,imo->tio", depthwise.reshape(-1, inputs, multiplier), pointwise)
        bias = to_numpy(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
        return kernel, bias

    def smaller_kernels(
        self, layer: Any, rows: np.ndarray, columns: np.ndarray
    ) -> list[np.ndarray]:
        depthwise, pointwise = layer.get_weights()[:2]
        between = np.repeat(rows, depthwise.shape[-1])
        return [depthwise[..., rows, :], pointwise[..., between, :][..., columns]]

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        between = np.repeat(numbers.inputs[0], call.layer.depth_multiplier)
        return {
            "depthwise_kernel": Wiring(None, between),
            "pointwise_kernel": Wiring(between, numbers.output),
        }


def _sum_offsets(kernel: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return what offsets of the channels add to each result of a kernel ``(…, C, M)``."""
    sums: np.ndarray = kernel.sum(axis=tuple(range(kernel.ndim - 2)))
    return (sums * offset[:, None]).reshape(-1)


def _as_if_full(variable: Any) -> tuple[int, int]:
    """Return the matrix of a convolution over all channels, whose reuse factors are legal for hls4ml."""
    *window, channels, multiplier = map(int, variable.shape)
    return math.prod(window) * channels, channels * multiplier


def _kernel_of(layer: Any) -> Any:
    own = getattr(layer, "depthwise_kernel", None)  # QKeras' name for it
    return layer.kernel if own is None else own
