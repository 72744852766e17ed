"""A chain of dense layers whose loss is known at once when a single number in it changes.

Only what changes is computed again: the sums of one unit, those of its rounded numbers that differ, and what
they reach. That takes a small part of the time of a whole evaluation, so that a search may try thousands of
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.layers.units import to_numpy
from fabricfit.precision.biases import is_rectifier
from fabricfit.precision.formats import rounded_weights
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.model import PrecisionModel
from fabricfit.precision.rounding import whole_bits

__all__ = ["Change", "DenseChain", "find_chain"]

_FIRST, _CLEARLY = 1024, 0.003
"""Samples that tell at once that a change does not pay, and by how much it then does not."""

_Steps = tuple[tuple[int, np.ndarray, np.ndarray, np.ndarray | None], ...]


def find_chain(made: PrecisionModel) -> list[TrainedWeights] | None:
    """Return the layers of a network that is a chain of dense layers with rectifiers between; else None.

    The activation of the last one may be any.
    """
    graph, names, tensor = made.network.graph, made.network.names, None
    found: list[TrainedWeights] = []
    rectified, wrapper = True, None
    for call in graph.calls:
        if isinstance(call.layer, keras.layers.InputLayer) and tensor is None:
            tensor = call.output
            continue
        if call.shared or len(call.outputs) != 1 or [*call.inputs] != [tensor]:
            return None
        wrapper = made.weights.get(names.get(id(call.layer), ""))
        if wrapper is not None and rectified and _is_dense(call):
            found.append(wrapper)
            rectified = wrapper.layer.activation is keras.activations.relu
        elif found and is_rectifier(call.layer):
            rectified = True
        else:
            return None
        tensor = call.output
    ends = tensor is not None and [*graph.outputs] == [tensor.index]
    return found if ends and wrapper is not None else None


def _is_dense(call: Call) -> bool:
    return type(call.layer) is keras.layers.Dense and len(call.output.shape) == 2


@dataclass(frozen=True)
class Change:
    """What becomes of a chain where one of its numbers changes.

    Parameters
    ----------
    place, index, value
        Place of the layer; row and unit of the weight, or the unit of the bias; its new value.
    loss
        The loss then.
    steps
        Place of a layer, its units whose sums change, the new sums, and the rounded numbers that come of
        them, shape (units, samples); None of the last layer.
    """

    place: int
    index: tuple[int, ...]
    value: float
    loss: float
    steps: _Steps


class DenseChain:
    """The numbers in a chain of dense layers, for some samples.

    Parameters
    ----------
    layers
        The layers, as :func:`find_chain` returns them.
    inputs
        What the network receives, shape (samples, n_in).
    find_loss
        Returns the loss of the last layer's sums, shape (units, samples).
    """

    def __init__(
        self,
        layers: Sequence[TrainedWeights],
        inputs: np.ndarray,
        find_loss: Callable[[np.ndarray], float],
    ) -> None:
        self._find_loss = find_loss
        self.weights = [rounded_weights(each)[0].astype(np.float32) for each in layers]
        self.biases = [_read_bias(each) for each in layers]
        self._scales = [_find_scale(each) for each in layers]
        self._sums: list[np.ndarray] = []
        self._numbers = [to_numpy(layers[0].source(inputs)).T.copy()]
        for place, weights in enumerate(self.weights):
            self._sums.append(weights.T @ self._numbers[place] + self.biases[place][:, None])
            if place + 1 < len(layers):
                self._numbers.append(self._round(place + 1, self._sums[place], slice(None)))
        self.loss = find_loss(self._sums[-1])
        self._first_loss = find_loss(self._sums[-1][:, :_FIRST])

    def change(
        self, place: int, index: tuple[int, ...], value: float, most: float
    ) -> Change | None:
        """Return what becomes of the chain where a number has another value.

        Parameters
        ----------
        place, index, value
            As of :class:`Change`.
        most
            How much the loss may rise. None is returned where it clearly does by more, as the first samples
            tell.
        """
        if len(index) == 1:
            row = np.ones(1, np.float32)
            by = np.float32(value) - self.biases[place][index]
        else:
            row = self._numbers[place][index[0]]
            by = np.float32(value) - self.weights[place][index]
        first = self._follow(place, index[-1], by * row[:_FIRST], _FIRST)[0]
        if first - self._first_loss > most + _CLEARLY:
            return None
        return Change(place, index, value, *self._follow(place, index[-1], by * row))

    def accept(self, change: Change) -> None:
        """Make a change."""
        held = self.weights if len(change.index) == 2 else self.biases
        held[change.place][change.index] = change.value
        for place, units, sums, numbers in change.steps:
            self._sums[place][units] = sums
            if numbers is not None:
                self._numbers[place + 1][units] = numbers
        self.loss = change.loss
        self._first_loss = self._find_loss(self._sums[-1][:, :_FIRST])

    def _follow(
        self, place: int, unit: int, by: np.ndarray, samples: int | None = None
    ) -> tuple[float, _Steps]:
        """Return the loss where the sums of a unit are larger by something, and what else changes."""
        units, steps, part = np.array([unit]), [], slice(samples)
        sums = self._sums[place][units, part] + by
        while place + 1 < len(self.weights):
            numbers = self._round(place + 1, sums, units)
            steps.append((place, units, sums, numbers))
            changed = numbers - self._numbers[place + 1][units, part]
            reached = self.weights[place + 1][units]
            differ = changed.any(1) & reached.any(1)
            if not differ.any():
                return self._first_loss if samples else self.loss, tuple(steps)
            reached, changed = reached[differ], changed[differ]
            place, units = place + 1, np.flatnonzero(reached.any(0))
            sums = self._sums[place][units, part] + reached[:, units].T @ changed
        outputs = self._sums[-1][:, part].copy()
        outputs[units] = sums
        return self._find_loss(outputs), (*steps, (place, units, sums, None))

    def _round(self, place: int, sums: np.ndarray, units: np.ndarray | slice) -> np.ndarray:
        """Return rectified sums rounded half up, as the input of a layer."""
        scale = self._scales[place][units]
        rounded = np.maximum(sums, 0)
        rounded *= scale
        rounded += np.float32(0.5)
        np.floor(rounded, out=rounded)
        rounded /= scale
        return rounded


def _find_scale(wrapper: TrainedWeights) -> np.ndarray:
    """Return what the inputs of a layer are multiplied by to become whole, a column for each channel."""
    bits, (kernel,) = to_numpy(whole_bits(wrapper.source.bits)), wrapper.kernels
    scales = np.exp2(bits.astype(np.float32))
    return np.broadcast_to(scales, (kernel.shape[0],)).copy()[:, None]


def _read_bias(wrapper: TrainedWeights) -> np.ndarray:
    bias = wrapper.layer.bias
    return np.zeros(wrapper.layer.units, np.float32) if bias is None else to_numpy(bias).copy()
