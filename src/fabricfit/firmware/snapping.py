"""Weights on the grid of hardware's number formats, so that what is zero there is exactly zero here.

hls4ml looks for zeros in the weights as they are, before it quantizes them: one that is a little off costs
a multiplier whose weight is then zero.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import Precision, dequantize, quantize
from fabricfit.description.strategies import canonical_strategy
from fabricfit.hls4ml.products import hls4ml_attributes
from fabricfit.network.cloning import copy_model
from fabricfit.network.kernels import named_kernels

__all__ = ["SnappedLayer", "snap_model"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnappedLayer:
    """What putting a kernel on the grid did to it.

    Parameters
    ----------
    zeroed
        Weights that became zero.
    clipped
        Weights that the format cannot hold and that became its largest or smallest number.
    largest
        The largest change.
    """

    zeroed: int
    clipped: int
    largest: float


def snap_model(
    model: keras.Model, attributes: Mapping[str, LayerAttributes]
) -> tuple[keras.Model, dict[str, SnappedLayer]]:
    """Return a copy of a model with its weights rounded to the numbers that hardware will hold.

    Parameters
    ----------
    model
        The model; it is not changed.
    attributes
        Layer -> attributes, read with
        :func:`fabricfit.attributes.get_attributes_from_keras_model_and_hls4ml_config`. Kernels are
        rounded to their weight precision, biases where the configuration states theirs, and with
        distributed arithmetic, which takes weights as they are, to that of the results. Layers that
        quantize their own weights, and layers that are not described, stay as they are.

    Returns
    -------
    model : keras.Model
        The copy. Equal weights stay equal and zeros stay zeros.
    changes : dict
        Layer -> :class:`SnappedLayer`.
    """
    snapped, changes = copy_model(model), {}
    for name, kernel in named_kernels(snapped).items():
        described = attributes.get(name)
        if described is None or described.hls4ml is None or kernel.precision is not None:
            continue
        hls = hls4ml_attributes(described)
        changes[name] = _snap(kernel.variable, hls.weight_precision)
        if changes[name].clipped:
            logger.warning(
                "layer %r: %d weights are beyond %s and were clipped. Give its weights more integer "
                "bits.",
                name, changes[name].clipped, hls.weight_precision,
            )  # fmt: skip
        bias, precision = kernel.bias, hls.bias_precision
        if canonical_strategy(hls.strategy) == "distributed_arithmetic":
            precision = precision or hls.output_precision  # hls4ml adds biases as they are
        if bias is not None and precision is not None:
            _snap(bias, precision)
    return snapped, changes


def _snap(variable: Any, precision: Precision) -> SnappedLayer:
    before: np.ndarray = np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
    integers = quantize(before, precision)
    after = dequantize(integers, precision)
    variable.assign(after.astype(variable.dtype))
    unit = float(dequantize(1, precision))
    change = np.abs(after - before)
    return SnappedLayer(
        zeroed=int(np.count_nonzero((before != 0) & (after == 0))),
        clipped=int(np.count_nonzero(change > unit)),
        largest=float(change.max(initial=0.0)),
    )
