"""Depthwise convolutions: each channel is multiplied by weights of its own, and added up by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, NotModelledError, cast
from fabricfit.firmware.emulation.matrix_products import (
    accumulate,
    addition_order,
    cut_patches,
    refuse_ternary,
)
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights

__all__: list[str] = []


@register("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a depthwise convolution (``nnet_sepconv*_latency.h`` and ``nnet_depthwise_product.h``)."""
    kernel, bias = weights.kernel(node), weights.bias(node)
    refuse_ternary(node)
    if kernel.shape[-1] != 1:
        raise NotModelledError("depthwise convolutions with a depth_multiplier")
    patches = cut_patches(weights.inputs(node, inputs[0]), kernel.shape[:-2], weights.layer(node))
    places, channels = math.prod(kernel.shape[:-2]), kernel.shape[-2]
    by_channel = patches.reshaped(-1, places, channels).values
    columns, accum = kernel.reshaped(places, channels).values, format_of(node, "accum_t")
    factor = int(node.get_attr("reuse_factor"))
    order = addition_order(places * channels, factor, node.get_attr("strategy"))
    sums = [
        accumulate(
            FixedTensor(by_channel[..., channel], patches.format),
            FixedTensor(columns[:, [channel]], kernel.format),
            FixedTensor(bias.values[[channel]], bias.format),
            accum,
            [i // channels for i in order if i % channels == channel],
        ).values
        for channel in range(channels)
    ]
    total = FixedTensor(np.concatenate(sums, axis=-1), accum)
    return cast(total.reshaped(*patches.shape[:-1], channels), result_format(node))
