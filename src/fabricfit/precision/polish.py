"""Coordinate descent on a finished network: each weight tries other values, and keeps one that pays.

The weights of a small network are so few that each can be tried. It goes to zero, to half or twice of it, or
to a neighbour on its grid, and stays where the loss and the price of its digits together are least. The loss
is that of the quantized network, so that nothing is estimated but the price.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fabricfit.hardware.product import csd_digits
from fabricfit.layers.units import to_numpy
from fabricfit.precision.cost import LUTS_PER_DIGIT_BIT
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.model import PrecisionModel
from fabricfit.precision.rounding import whole_bits
from fabricfit.samples import Dataset
from fabricfit.training.engine import Engine

__all__ = ["Polished", "polish"]


@dataclass(frozen=True)
class Polished:
    """What a coordinate descent did.

    Parameters
    ----------
    tried, kept
        Values that were tried, and those that were kept.
    before, after
        The loss.
    """

    tried: int
    kept: int
    before: float
    after: float


def polish(
    made: PrecisionModel,
    engine: Engine,
    data: Dataset,
    price: float,
    rng: np.random.Generator,
) -> Polished:
    """Change single weights of a finished network, in place, where that pays.

    Parameters
    ----------
    made, engine
        The model that trained its precision, with the weights that count, and what trained it.
    data
        Samples of the training data, whose loss counts.
    price
        What a LUT is worth, in units of the loss.
    rng
        The order in which weights are tried, each once.
    """
    loss = before = engine.evaluate_loss(data)
    tried = kept = 0
    places = [
        (wrapper, number, index)
        for wrapper in made.weights.values()
        for number, integers in enumerate(wrapper.integers())
        for index in map(tuple, np.argwhere(integers))
    ]
    for place in rng.permutation(len(places)):
        weight = _Weight(*places[place])
        for value in weight.others():
            tried += 1
            weight.assign(value)
            found = engine.evaluate_loss(data)
            if found - loss < price * (weight.luts(weight.value) - weight.luts(value)):
                weight.value, loss = value, found
                kept += 1
        weight.assign(weight.value)
    return Polished(tried, kept, before, loss)


class _Weight:
    """One weight of a layer, as an integer in units of its last bit."""

    def __init__(self, wrapper: TrainedWeights, number: int, index: tuple[int, ...]) -> None:
        self.kernel, self.index = wrapper.kernels[number], index
        self._values = to_numpy(self.kernel.variable).copy()
        self._bits = int(to_numpy(whole_bits(wrapper.bits[number]))[index])
        self.value = int(np.floor(np.ldexp(self._values[index], self._bits) + 0.5))
        widths = to_numpy(wrapper.source.widths)
        axes = self.kernel.axes
        flat = np.ravel_multi_index(index, self.kernel.shape)
        entry = np.unravel_index(flat, axes.axes)[self.kernel.channel_axis]
        self._luts = LUTS_PER_DIGIT_BIT * wrapper.instances * float(widths[entry % len(widths)])

    def others(self) -> Iterator[int]:
        """Yield the integers to try in its place."""
        halved = int(np.sign(self.value) * (abs(self.value) // 2))
        yield from dict.fromkeys(
            each
            for each in (0, halved, 2 * self.value, self.value - 1, self.value + 1)
            if each != self.value
        )

    def luts(self, value: int) -> float:
        """Return about how many LUTs an integer uses."""
        return self._luts * float(csd_digits(np.array([abs(value)]))[0])

    def assign(self, value: int) -> None:
        """Give the weight the value of an integer."""
        self._values[self.index] = np.ldexp(float(value), -self._bits)
        self.kernel.variable.assign(self._values)
