"""Biases on a grid: those with which the network computes exactly what it computed in training.

Biases are trained as floats. Where a sum S on a grid of f bits gets a bias b and is then rounded half up to
fewer bits n, only ⌊S + b + 2^−(n+1)⌋ on the coarser grid counts, and a bias on the finer grid gives the same.
Where n is not below f, b itself is rounded to n bits. A rectifier between the two changes nothing, as it is
monotonic and hands whole multiples on.

The half that rounding adds may be part of the bias as well: then the result is only truncated, which costs
nothing. That is done where quantizers are layers of the model, so that Keras computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np

from fabricfit.layers.units import to_numpy
from fabricfit.precision.formats import (
    TensorFormat,
    find_extremes,
    find_tensor_formats,
    received_formats,
    rounded_weights,
    trailing_bits,
)
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.model import PrecisionModel

__all__ = [
    "find_formats",
    "formats_behind",
    "is_rectifier",
    "is_rectifier_or_none",
    "rounded_bias",
    "rounded_biases",
]

_LEAST_BITS = -64
"""Fractional bits of a sum of nothing."""

_FINER = 4
"""Bits below the sum's last one, for a bias of results that are not rounded next."""


def formats_behind(
    made: PrecisionModel, formats: Mapping[str, tuple[TensorFormat, ...]]
) -> dict[str, tuple[TensorFormat, ...]]:
    """Return the format to which each layer's results are rounded, as they are or behind a rectifier.

    Parameters
    ----------
    made
        A model that trains its precision.
    formats
        Name of each rounding -> the format of each channel, or one for all.
    """
    graph, names = made.network.graph, made.network.names
    found = {}
    for name, call in made.makers.items():
        if call is None:
            continue
        if is_rectifier(call.layer) and call.inputs:
            before = graph.producer(call.inputs[0].index)
            if len(graph.receivers(call.inputs[0].index)) == 1 and id(before.layer) in names:
                found[names[id(before.layer)]] = formats[name]
        if id(call.layer) in names:
            found[names[id(call.layer)]] = formats[name]
    return found


def find_formats(
    made: PrecisionModel, inputs: Sequence[np.ndarray]
) -> dict[str, tuple[TensorFormat, ...]]:
    """Return the formats of every rounded tensor, by what occurs in the data.

    Parameters
    ----------
    made
        A model that trained its precision, with the weights that count.
    inputs
        An array for each input.
    """
    formats = find_tensor_formats(made, find_extremes(made, inputs))
    if all(len(each) == 1 for each in formats.values()):
        return formats
    behind = formats_behind(made, formats)
    folded = {
        id(behind[name])
        for name, wrapper in made.weights.items()
        if name in behind and wrapper.kernels[0].bias is not None and is_rectifier_or_none(wrapper)
    }
    return {
        name: tuple(replace(each, rounding="TRN") for each in found)
        if id(found) in folded
        else found
        for name, found in formats.items()
    }


def is_rectifier(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a rectifier by itself, and without options."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and (
        layer.activation is keras.activations.relu
    )


def is_rectifier_or_none(wrapper: TrainedWeights) -> bool:
    """Return whether a rectifier, or nothing, is done to a layer's sums before they leave it."""
    if wrapper.has_inner:
        return False
    activation = getattr(wrapper.layer, "activation", None)
    return activation in (None, keras.activations.relu, keras.activations.linear)


def rounded_bias(
    wrapper: TrainedWeights,
    inputs: Sequence[TensorFormat],
    behind: Sequence[TensorFormat] | None = None,
    number: int = 0,
) -> np.ndarray | None:
    """Return the bias of a layer on a grid that changes nothing, if there is a bias.

    Parameters
    ----------
    wrapper
        The layer.
    inputs
        The formats of its input's channels.
    behind
        The formats to which its results are rounded, a channel each or one for all, with the half in the
        bias where they truncate; None where results are not rounded. Then the bias has a few bits more than
        the sum, if sums inside the layer have so many.
    number
        Which one of the layer's kernels.
    """
    kernel, weights = wrapper.kernels[number], rounded_weights(wrapper)[number]
    if kernel.bias is None:
        return None
    axes = kernel.axes
    channels = axes.matrix(np.indices(axes.axes)[kernel.channel_axis]) % len(inputs)
    tensors = np.array([each.fractional for each in inputs])[channels]
    bits = np.max(trailing_bits(axes.matrix(weights)) + tensors, axis=0, initial=_LEAST_BITS)
    bias = to_numpy(kernel.bias).astype(np.float64)
    of_sum = np.resize(bits, bias.size).reshape(bias.shape).astype(int)
    if behind is None or not is_rectifier_or_none(wrapper):
        finer = np.maximum(of_sum, 0) + _FINER
        return _round_half_up(
            bias, np.minimum(finer, wrapper.inner.fractional) if wrapper.has_inner else finer
        )
    fewer = np.resize([each.fractional for each in behind], bias.size).reshape(bias.shape)
    half = np.ldexp(1.0, -fewer - 1)
    finer = np.maximum(of_sum, fewer + 1)
    exact = np.ldexp(np.floor(np.ldexp(bias + half, finer)), -finer)
    if behind[0].rounding != "TRN":
        exact -= half
    return np.where(of_sum > fewer, exact, _round_half_up(bias, fewer))


def rounded_biases(
    wrapper: TrainedWeights,
    formats: Mapping[str, tuple[TensorFormat, ...]],
    behind: Sequence[TensorFormat] | None = None,
) -> list[np.ndarray | None]:
    """Return the bias of each of a layer's kernels on a grid, None where a kernel has none.

    Parameters
    ----------
    wrapper, behind
        As for :func:`rounded_bias`.
    formats
        Name of each rounding -> the format of each channel, or one for all.
    """
    return [
        rounded_bias(wrapper, received_formats(product, formats), behind, number)
        for number, product in enumerate(wrapper.products)
    ]


def _round_half_up(numbers: np.ndarray, fractional: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.ldexp(np.floor(np.ldexp(numbers, fractional) + 0.5), -fractional)
    return rounded
