"""The LUTs of a finished network, counted in the graph of adders that its constants make.

Each layer with its own formats: the adders of its products, the sums with its bias, a rectifier, and the
rounding behind it with its saturation, if any. Equal parts of sums are built once (Sun et al., "da4ml:
Distributed Arithmetic for Real-time Neural Networks on FPGAs", 2025, arXiv:2507.04535). Of a layer with
products inside it, such as an LSTM, those of each kernel are counted by themselves, with the bias that is
added to them. What else stands between products (pooling, sums of branches, gates, tables) is not counted.
Large graphs are estimated by the law of their digits, see :mod:`fabricfit.hardware.adder_graphs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from fabricfit.errors import require
from fabricfit.hardware.adder_graphs import MOST_DIGITS, law_of_digits
from fabricfit.hardware.product import csd_digits
from fabricfit.layers.kernels import Kernel
from fabricfit.precision.biases import formats_behind, rounded_biases
from fabricfit.precision.formats import TensorFormat, kif_of, received_formats, weight_format
from fabricfit.precision.layers import TrainedProduct, TrainedWeights
from fabricfit.precision.model import PrecisionModel, kernel_name

__all__ = ["count_adders"]

Formats = Mapping[str, tuple[TensorFormat, ...]]


def count_adders(made: PrecisionModel, formats: Formats) -> dict[str, float]:
    """Return the cost of each kernel's adder graph, about a LUT for each bit of each adder.

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
    behind, found = formats_behind(made, formats), {}
    for name, wrapper in made.weights.items():
        own = behind.get(name)
        sums = zip(wrapper.products, _list_biases(wrapper, formats, own), strict=True)
        for product, bias in sums:
            inputs = received_formats(product, formats)
            if wrapper.has_inner:
                cost = _count_sums(product, inputs, bias)
            else:
                rectifies = getattr(wrapper.layer, "activation", None) is keras.activations.relu
                rectifies |= own is not None and not any(each.signed for each in own)
                cost = _count_sums(product, inputs, bias, rectifies=rectifies, behind=own)
            found[kernel_name(name, product.kernel)] = cost
    return found


def _list_biases(
    wrapper: TrainedWeights, formats: Formats, behind: tuple[TensorFormat, ...] | None
) -> Iterator[np.ndarray | None]:
    """Yield what is added to the sums of each kernel; the second row of a bias goes to the next one."""
    waiting: list[np.ndarray] = []
    for kernel, bias in zip(wrapper.kernels, rounded_biases(wrapper, formats, behind), strict=True):
        if bias is not None:
            waiting += [*bias] if len(kernel.bias_names) > 1 else [bias]
        yield waiting.pop(0) if waiting else None


def _count_sums(
    product: TrainedProduct,
    inputs: tuple[TensorFormat, ...],
    bias: np.ndarray | None,
    *,
    rectifies: bool = False,
    behind: tuple[TensorFormat, ...] | None = None,
) -> float:
    trace = require("alkaid.trace", "adders", "An adder graph")
    total = 0.0
    for matrix, channels, columns in _list_matrices(product.kernel, product.weights):
        bits = kif_of([inputs[channel % len(inputs)] for channel in channels])
        integers = np.ldexp(matrix, weight_format(matrix).fractional).astype(np.int64)
        digits = csd_digits(integers).sum(axis=1)
        if digits.sum() > MOST_DIGITS:
            total += _estimate_sums(matrix, digits, np.sum(bits, axis=0), bias)
            continue
        received = trace.FVArray.from_kif(*bits)
        results = received @ matrix
        if bias is not None:
            results = results + bias.ravel()[columns % bias.size]
        if rectifies:
            results = results.relu()
        if behind is not None:
            made = kif_of([behind[column % len(behind)] for column in columns])
            results = results.quantize(
                *made, overflow_mode=behind[0].overflow, round_mode=behind[0].rounding
            )
        total += float(trace.trace(received, results).cost)
    return total * product.instances


def _estimate_sums(
    matrix: np.ndarray, digits: np.ndarray, widths: np.ndarray, bias: np.ndarray | None
) -> float:
    """Return about the cost of a large graph; a bias is one more addition for each sum.

    Parameters
    ----------
    matrix, bias
        The constants.
    digits, widths
        Signed digits of the constants of each input, and its bits.
    """
    added = 0 if bias is None else int(np.count_nonzero(bias))
    width = float(digits @ widths / digits.sum())
    nonzeros = int(np.count_nonzero(matrix))
    return law_of_digits(float(digits.sum()) + added, nonzeros, matrix.shape, width)


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
