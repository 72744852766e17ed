"""Coordinate descent on a finished network: each weight tries other values, and keeps one that pays.

The weights of a small network are so few that each can be tried. It goes to zero, to half or twice of it, or
to a neighbour on its grid, and stays where the loss and the price of its digits together are least. Biases,
which cost nothing, move by parts of the last bit of what they are added to. The loss is that of the quantized
network, so that nothing is estimated but the price.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fabricfit.layers.units import to_numpy
from fabricfit.precision.cost import LUTS_PER_DIGIT_BIT
from fabricfit.precision.dense_chain import DenseChain
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.rounding import MOST_BITS, whole_bits

__all__ = ["Polished", "polish"]

_BIAS_STEPS = (1.0, -1.0, 0.25, -0.25)
"""By how much a bias moves, in units of the last bit of its results."""

_OUTPUT_STEP = 2.0**-3
"""That of results that are not rounded."""


@dataclass(frozen=True)
class Polished:
    """What a coordinate descent did.

    Parameters
    ----------
    tried, kept
        Numbers that were tried, and those that were kept.
    before, after
        The loss.
    """

    tried: int
    kept: int
    before: float
    after: float


def polish(
    layers: Sequence[TrainedWeights],
    chain: DenseChain,
    price: float,
    rng: np.random.Generator,
) -> Polished:
    """Change single weights and biases of a finished network, in place, where that pays.

    Parameters
    ----------
    layers
        The layers of the network, with the weights that count and the widths of their inputs.
    chain
        The network on the samples whose loss counts.
    price
        What a LUT is worth, in units of the loss.
    rng
        The order in which weights are tried, each once.
    """
    before, tried, kept = chain.loss, 0, 0
    parts = [_Layer(layers, place, chain) for place in range(len(layers))]
    places = [(part, index) for part in parts for index in part.list_places()]
    for number in rng.permutation(len(places)):
        part, index = places[number]
        for value in part.others(index):
            worth = price * (part.luts(index) - part.luts(index, value))
            change = chain.change(part.place, index, value, worth)
            tried += 1
            if change is not None and change.loss - chain.loss < worth:
                chain.accept(change)
                kept += 1
    for part in parts:
        part.finish()
    return Polished(tried, kept, before, chain.loss)


class _Layer:
    """A layer whose numbers change one by one; a weight's index is its row and unit, a bias' its unit."""

    def __init__(self, layers: Sequence[TrainedWeights], place: int, chain: DenseChain) -> None:
        self._wrapper, self.place, self._chain = layers[place], place, chain
        (product,) = self._wrapper.products
        self._steps = np.exp2(-to_numpy(whole_bits(product.bits)).astype(float))
        widths = np.broadcast_to(product.widths, (len(self.weights),))
        self._luts = LUTS_PER_DIGIT_BIT * product.instances * widths
        self._heard: np.ndarray = np.ones(self.weights.shape[1], bool)
        self._bias_steps: np.ndarray = np.full(len(self._heard), _OUTPUT_STEP)
        if place + 1 < len(layers):
            self._heard = np.asarray(chain.weights[place + 1].any(1))
            following = to_numpy(whole_bits(layers[place + 1].source.bits)).astype(float)
            self._bias_steps = np.broadcast_to(np.exp2(-following), self._bias_steps.shape)

    @property
    def weights(self) -> np.ndarray:
        """The present weights."""
        return self._chain.weights[self.place]

    def list_places(self) -> list[tuple[int, ...]]:
        """Return the indices of all that is worth trying: weights that are not zero, and their biases."""
        found: list[tuple[int, ...]] = [(int(i), int(j)) for i, j in np.argwhere(self.weights)]
        if self._wrapper.layer.bias is not None:
            alive = self._heard & self.weights.any(0)
            found += [(int(unit),) for unit in np.flatnonzero(alive)]
        return found

    def others(self, index: tuple[int, ...]) -> Iterator[float]:
        """Yield the values to try; those after one that was kept start from it."""
        if len(index) == 1:
            step = self._bias_steps[index]
            for part in _BIAS_STEPS:
                yield float(self._chain.biases[self.place][index]) + part * step
            return
        value, step = float(self.weights[index]), float(self._steps[index])
        halved = np.trunc(value / step / 2) * step
        tried = (0.0, halved, 2 * value, value - step, value + step)
        yield from (each for each in dict.fromkeys(tried) if each != value)

    def luts(self, index: tuple[int, ...], value: float | None = None) -> float:
        """Return about how many LUTs a value uses, the present one by default."""
        if len(index) == 1:
            return 0.0
        size = abs(float(self.weights[index]) if value is None else value)
        integer = round(math.ldexp(size, 2 * MOST_BITS))
        return float(self._luts[index[0]]) * (integer ^ (3 * integer)).bit_count()

    def finish(self) -> None:
        """Give the layer what was found."""
        (kernel,) = self._wrapper.kernels
        kernel.variable.assign(self.weights)
        if self._wrapper.layer.bias is not None:
            self._wrapper.layer.bias.assign(self._chain.biases[self.place])
