"""Fractional bits to start with, from the sizes of the weights and of the numbers that occur.

A network whose weights or activations are large or small as a whole then starts with as many significant bits
as any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fabricfit.layers.units import to_numpy
from fabricfit.precision.layers import TrainedFormat, TrainedWeights
from fabricfit.precision.model import PrecisionModel

__all__ = ["start_bits"]

_WEIGHT_STEPS, _TENSOR_STEPS = 2.0, 3.0
"""Bits below the standard deviation of weights, and below the effective value of a tensor."""

_FINE = 12.0
"""Bits with which the sizes of tensors are found."""


def start_bits(made: PrecisionModel, inputs: Sequence[np.ndarray]) -> None:
    """Give every layer that trains bits those to start with.

    Weights get 2 bits below their standard deviation, tensors 3 below their effective value: 4 and 3 bits for
    a layer of some ten inputs that are about 1 in size.

    Parameters
    ----------
    made
        A model that trains its precision, with the weights to start from.
    inputs
        An array for each input: a few hundred samples.
    """
    tensors = [made.model.get_layer(name) for name in made.rounded]
    for layer in (*made.weights.values(), *tensors):
        _assign(layer, _FINE)
    for wrapper in made.weights.values():
        spread = max(float(np.std(to_numpy(kernel.variable))) for kernel in wrapper.kernels)
        wrapper.start = _round_below(spread, _WEIGHT_STEPS)
    observed = made.observe(inputs)
    for layer in tensors:
        sizes = [float(np.sqrt(np.mean(np.square(each)))) for each in observed[layer.name]]
        layer.start = _round_below(max(sizes), _TENSOR_STEPS)
    for layer in (*made.weights.values(), *tensors):
        _assign(layer, layer.start)


def _assign(layer: TrainedWeights | TrainedFormat, bits: float) -> None:
    for variable in layer.trained_bits:
        variable.assign(np.full(variable.shape, bits))


def _round_below(size: float, steps: float) -> float:
    """Return the whole fractional bits whose last one is so many steps below a size."""
    return round(steps - np.log2(size)) if size > 0 else steps
