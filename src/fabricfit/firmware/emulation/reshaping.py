"""Layers that move numbers: up-sampling, permutation, cropping, and words looked up in a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, NotModelledError, cast
from fabricfit.firmware.emulation.matrix_products import require_channels_last
from fabricfit.firmware.emulation.registry import register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights

__all__: list[str] = []


@register("Resize")
def resize(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Repeat every position as often as an UpSampling layer says."""
    layer, values = weights.layer(node), inputs[0].values
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise NotModelledError("up-sampling that interpolates")
    if values.ndim > 3:
        require_channels_last(layer)
    for axis, factor in enumerate(np.atleast_1d(layer.size), 1):
        values = np.repeat(values, int(factor), axis)
    return cast(FixedTensor(values, inputs[0].format), result_format(node))


@register("Transpose")
def transpose(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Permute axes as a Permute layer says, or, where hls4ml put it in, as the node says."""
    dims = getattr(weights.find(node.name), "dims", None)
    axes = dims if dims is not None else [int(axis) + 1 for axis in node.get_attr("perm")]
    turned = inputs[0].values.transpose(0, *axes)
    return cast(FixedTensor(turned, inputs[0].format), result_format(node))


@register("Cropping1D", "Cropping2D")
def cropping(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Leave out positions at the edges."""
    layer, values = weights.layer(node), inputs[0].values
    if values.ndim > 3:
        require_channels_last(layer)
    for axis, (before, behind) in enumerate(np.atleast_2d(layer.cropping), 1):
        values = values.take(np.arange(before, values.shape[axis] - behind), axis)
    return cast(FixedTensor(values, inputs[0].format), result_format(node))


@register("Embedding")
def embedding(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Look words up in a table; words that it does not have are refused."""
    table, words = weights.kernel(node), inputs[0].to_float()
    index = words.astype(np.int64)
    if (index != words).any() or index.min() < 0 or index.max() >= table.shape[0]:
        raise NotModelledError(f"words that are none of the numbers 0 to {table.shape[0] - 1}")
    return cast(FixedTensor(table.values[index], table.format), result_format(node))
