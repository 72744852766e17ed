"""Quantization of weights to the hardware grid, so that weights that are zero there are exactly zero here.

hls4ml looks for zeros before it quantizes: a small weight that its format rounds to zero still costs a
multiplier.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.checks import instance, mapping
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import (
    FixedPrecision,
    Precision,
    dequantize,
    fixed_point,
    quantize,
)
from fabricfit.description.strategies import canonical_strategy
from fabricfit.hls4ml.products import hls4ml_attributes
from fabricfit.network.cloning import copy_model
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network, read

__all__ = ["QuantizationChange", "list_grids", "quantize_in_place", "quantize_to_grid"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizationChange:
    """Change of a kernel by its quantization to the hardware grid.

    Parameters
    ----------
    zeroed
        Number of weights that became zero.
    clipped
        Number of weights beyond the format's range, which saturate at its largest or smallest number.
    largest
        Largest absolute change of a weight.
    """

    zeroed: int
    clipped: int
    largest: float


def quantize_to_grid(
    model: keras.Model, attributes: Mapping[str, LayerAttributes]
) -> tuple[keras.Model, dict[str, QuantizationChange]]:
    """Return a copy of a model with its weights quantized to the hardware grid.

    Parameters
    ----------
    model
        The model; it is not changed.
    attributes
        Layer -> attributes, read with
        :func:`fabricfit.attributes.get_attributes_from_keras_model_and_hls4ml_config`. Kernels are
        rounded to their weight precision; biases to theirs where the configuration states one, and with
        distributed arithmetic, which builds weights exactly, to that of the results. Layers that quantize
        their own weights, and layers without attributes, are not changed.

    Returns
    -------
    model : keras.Model
        The copy. Equal weights stay equal and zeros stay zeros.
    changes : dict
        Layer -> :class:`QuantizationChange`.
    """
    for name, each in mapping("attributes", attributes).items():
        instance(f"attributes[{name!r}]", each, LayerAttributes)
    quantized = read(copy_model(open_network(model).model))
    return quantized.model, quantize_in_place(quantized, attributes)


def quantize_in_place(
    network: Network, attributes: Mapping[str, LayerAttributes]
) -> dict[str, QuantizationChange]:
    """Quantize the weights of a network's own model, as :func:`quantize_to_grid` does those of a copy."""
    changes = {}
    for name, variable, precision in list_grids(network, attributes):
        change = _quantize_variable(variable, precision)
        if name in changes:  # its bias, behind its weights
            continue
        changes[name] = change
        if change.clipped:
            logger.warning(
                "layer %r: %d weights are beyond %s and were clipped. Give its weights more integer "
                "bits.",
                name, change.clipped, precision,
            )  # fmt: skip
    return changes


def list_grids(
    network: Network, attributes: Mapping[str, LayerAttributes]
) -> Iterator[tuple[str, keras.Variable, FixedPrecision]]:
    """Yield what is quantized to the hardware grid, with its kernel's name and its format: weights, bias.

    Parameters
    ----------
    network, attributes
        As for :func:`quantize_to_grid`.
    """
    for name, kernel in network.grouped_kernels.items():
        described = attributes.get(name)
        if described is None or described.hls4ml is None or kernel.precision is not None:
            continue
        hls = hls4ml_attributes(described)
        yield name, kernel.variable, fixed_point(hls.weight_precision)
        bias, precision = kernel.bias, hls.bias_precision
        if canonical_strategy(hls.strategy) == "distributed_arithmetic":
            precision = precision or hls.output_precision  # hls4ml adds biases as they are
        if bias is not None and precision is not None:
            yield name, bias, fixed_point(precision)


def _quantize_variable(variable: Any, precision: Precision) -> QuantizationChange:
    before: np.ndarray = np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
    integers = quantize(before, precision)
    after = dequantize(integers, precision)
    variable.assign(after.astype(variable.dtype))
    unit = float(dequantize(1, precision))
    change = np.abs(after - before)
    return QuantizationChange(
        zeroed=int(np.count_nonzero((before != 0) & (after == 0))),
        clipped=int(np.count_nonzero(change > unit)),
        largest=float(change.max(initial=0.0)),
    )
