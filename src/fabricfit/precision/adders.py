"""The LUTs of a finished network, counted in the graph of adders that its constants make.

Each layer with its own formats: the adders of its products, the sums with its bias, a rectifier, and the
rounding behind it with its saturation. Equal parts of sums are built once (Sun et al., "da4ml: Distributed
Arithmetic for Real-time Neural Networks on FPGAs", 2025, arXiv:2507.04535). What else stands between products
(pooling, sums of branches, tables) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from fabricfit.errors import require
from fabricfit.layers.kernels import Kernel
from fabricfit.precision.biases import formats_behind, rounded_bias
from fabricfit.precision.formats import TensorFormat, kif_of, rounded_weights
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.model import PrecisionModel

__all__ = ["count_adders"]


def count_adders(
    made: PrecisionModel, formats: Mapping[str, tuple[TensorFormat, ...]]
) -> dict[str, float]:
    """Return the cost of each layer's adder graph, about a LUT for each bit of each adder.

    Parameters
    ----------
    made
        A model that trained its precision, with the weights that count.
    formats
        Name of each rounding -> the format of each channel, or one for all.

    Raises
    ------
    MissingExtraError
        ``alkaid`` is not installed.
    """
    behind = formats_behind(made, formats)
    return {
        name: _count_layer(wrapper, formats[wrapper.source.name], behind.get(name))
        for name, wrapper in made.weights.items()
    }


def _count_layer(
    wrapper: TrainedWeights,
    inputs: tuple[TensorFormat, ...],
    behind: tuple[TensorFormat, ...] | None,
) -> float:
    trace = require("alkaid.trace", "adders", "An adder graph")
    (kernel, *_), (weights, *_) = wrapper.kernels, rounded_weights(wrapper)
    rectifies = getattr(wrapper.layer, "activation", None) is keras.activations.relu
    rectifies |= behind is not None and not any(each.signed for each in behind)
    bias = rounded_bias(wrapper, inputs, behind)
    total = 0.0
    for matrix, channels, columns in _list_matrices(kernel, weights):
        received = trace.FVArray.from_kif(
            *kif_of([inputs[channel % len(inputs)] for channel in channels])
        )
        results = received @ matrix
        if bias is not None:
            results = results + bias.ravel()[columns % bias.size]
        if rectifies:
            results = results.relu()
        if behind is not None:
            made = kif_of([behind[column % len(behind)] for column in columns])
            results = results.quantize(*made, overflow_mode="SAT", round_mode=behind[0].rounding)
        total += float(trace.trace(received, results).cost)
    return total * wrapper.instances


def _list_matrices(
    kernel: Kernel, weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the matrices of a layer, with the channel of each row and the result of each column."""
    axes, channel_axis = kernel.axes, kernel.channel_axis
    places = np.indices(axes.axes)[channel_axis]
    channels, matrix = axes.matrix(places), axes.matrix(weights)
    columns = np.arange(axes.n_columns)
    if channel_axis in axes.rows:
        yield matrix, channels[:, 0], columns
        return
    for column in columns:  # each result has inputs of one channel only
        yield matrix[:, [column]], channels[:, column], columns[[column]]
