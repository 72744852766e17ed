"""A chain of dense layers whose loss is known at once when a single number in it changes.

Only what changes is computed again: the sums of one unit, those of its rounded numbers that differ, and what
they reach. That takes a small part of the time of a whole evaluation, so that a search may try thousands of
changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.layers.units import to_numpy
from fabricfit.precision.biases import is_rectifier
from fabricfit.precision.formats import rounded_weights
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.model import PrecisionModel
from fabricfit.precision.rounding import whole_bits
from fabricfit.precision.sums_loss import SumsLoss

__all__ = ["Change", "DenseChain", "find_chain"]

_ENDS, _CLEARLY = (512, 2048, 8192), (0.003, 0.001, 0.0003)
"""Samples after which a change that clearly does not pay is left, and by how much it then does not."""


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
class _Step:
    """New numbers in one layer, for some samples.

    Parameters
    ----------
    place, units
        Place of the layer, and its units whose sums change.
    samples
        Indices of the samples.
    sums, numbers
        The new sums, and the rounded numbers that come of them, shape (units, samples); no numbers of the
        last layer.
    """

    place: int
    units: np.ndarray
    samples: np.ndarray
    sums: np.ndarray
    numbers: np.ndarray | None


@dataclass(frozen=True)
class Change:
    """What becomes of a chain where one of its numbers changes.

    Parameters
    ----------
    place, index, value
        Place of the layer; row and unit of the weight, or the unit of the bias; its new value.
    loss
        The loss then.
    """

    place: int
    index: tuple[int, ...]
    value: float
    loss: float
    _steps: Sequence[_Step] = field(repr=False)
    _losses: Sequence[tuple[np.ndarray, np.ndarray]] = field(repr=False)


class DenseChain:
    """The numbers in a chain of dense layers, for some samples.

    Parameters
    ----------
    layers
        The layers, as :func:`find_chain` returns them.
    inputs
        What the network receives, shape (samples, n_in).
    find_losses
        Finds the losses of samples from the last layer's sums.

    Attributes
    ----------
    weights, biases
        Those of each layer at present.
    loss
        The mean loss.
    """

    def __init__(
        self, layers: Sequence[TrainedWeights], inputs: np.ndarray, find_losses: SumsLoss
    ) -> None:
        self._find_losses = find_losses
        self.weights = [rounded_weights(each)[0].astype(np.float32) for each in layers]
        self.biases = [_read_bias(each) for each in layers]
        self._scales = [_find_scale(each) for each in layers]
        self._sums: list[np.ndarray] = []
        self._numbers = [to_numpy(layers[0].source(inputs)).T.copy()]
        for place, weights in enumerate(self.weights):
            self._sums.append(weights.T @ self._numbers[place] + self.biases[place][:, None])
            if place + 1 < len(layers):
                self._numbers.append(self._round(place + 1, self._sums[place], slice(None)))
        ends = [end for end in _ENDS if end < len(inputs)]
        bounds = itertools.pairwise((0, *ends, len(inputs)))
        self._blocks = [np.arange(first, last) for first, last in bounds]
        outputs = self._sums[-1]
        found = [find_losses(outputs[:, block], block) for block in self._blocks]
        self._losses = np.concatenate(found).astype(np.float64)
        self.loss = float(self._losses.mean())

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
            row = np.ones(self._losses.size, np.float32)
            by = np.float32(value) - self.biases[place][index]
        else:
            row = self._numbers[place][index[0]]
            by = np.float32(value) - self.weights[place][index]
        steps: list[_Step] = []
        losses: list[tuple[np.ndarray, np.ndarray]] = []
        more, seen = 0.0, 0
        for block, clearly in zip(self._blocks, (*_CLEARLY, np.inf), strict=False):
            found = self._follow(place, index[-1], by * row[block], block, steps)
            if found is not None:
                more += float((found[1] - self._losses[found[0]]).sum())
                losses.append(found)
            seen += len(block)
            if more / seen > most + clearly:
                return None
        return Change(place, index, value, self.loss + more / seen, steps, losses)

    def accept(self, change: Change) -> None:
        """Make a change."""
        held = self.weights if len(change.index) == 2 else self.biases
        held[change.place][change.index] = change.value
        for step in change._steps:
            where = np.ix_(step.units, step.samples)
            self._sums[step.place][where] = step.sums
            if step.numbers is not None:
                self._numbers[step.place + 1][where] = step.numbers
        for samples, losses in change._losses:
            self._losses[samples] = losses
        self.loss = float(self._losses.mean())

    def _follow(
        self, place: int, unit: int, by: np.ndarray, samples: np.ndarray, steps: list[_Step]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Find what changes where the sums of a unit are larger by something, for some samples.

        Returns
        -------
        samples, losses
            Those that change, and their new losses; None where none changes.
        """
        units, run = np.array([unit]), slice(samples[0], samples[-1] + 1)
        sums = self._sums[place][unit : unit + 1, run] + by
        while place + 1 < len(self.weights):
            numbers = self._round(place + 1, sums, units)
            steps.append(_Step(place, units, samples, sums, numbers))
            before = self._numbers[place + 1]
            if unit >= 0:  # all samples of a block, of one unit
                changed = numbers - before[unit : unit + 1, run]
            else:
                changed = numbers - before.take(units, 0).take(samples, 1)
            reached = self.weights[place + 1][units]
            differ = changed.any(1) & reached.any(1)
            if not differ.any():
                return None
            if not differ.all():
                reached, changed = reached[differ], changed[differ]
            if self._find_losses.by_sample:
                some = np.flatnonzero(changed.any(0))
                samples, changed = samples[some], changed.take(some, 1)
            place, units = place + 1, np.flatnonzero(reached.any(0))
            sums = self._sums[place].take(units, 0).take(samples, 1)
            sums += reached[:, units].T @ changed
            unit = -1
        steps.append(_Step(place, units, samples, sums, None))
        outputs = self._sums[-1].take(samples, 1)
        outputs[units] = sums
        return samples, self._find_losses(outputs, samples)

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
