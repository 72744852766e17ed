"""The bits of all numbers: chosen by what rounding costs, and covering all that occurs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fabricfit.calibration.allocation import MOST_FRACTIONAL, choose_bits, loss_of
from fabricfit.calibration.figures import Samples
from fabricfit.calibration.ranges import Range, find_ranges, format_within
from fabricfit.calibration.rounding import bits_by_key, rounded_weights
from fabricfit.calibration.running import Runner
from fabricfit.calibration.sensitivity import first_bits, measure_coefficients
from fabricfit.calibration.task import Task
from fabricfit.calibration.tensors import Key
from fabricfit.layers.units import to_numpy
from fabricfit.precision.formats import TensorFormat

__all__ = ["Bits", "ranges_of_all"]

_LEAST_WIDTH = 2


@dataclass
class Bits:
    """The fractional bits of all numbers, and what follows from them.

    Parameters
    ----------
    task
        The network, the data and the options.
    runner
        Runs the network.
    ranges
        The numbers that occur in each tensor.
    samples
        Samples on which it is measured what rounding costs.
    """

    task: Task
    runner: Runner
    ranges: dict[Key, Range]
    samples: Samples
    coefficients: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bits: list[int] = field(default_factory=list)

    @property
    def free(self) -> list[int]:
        """Places of the numbers whose format is not stated."""
        return [place for place, form in enumerate(self.task.stated) if form is None]

    @property
    def expected(self) -> float:
        """The expected rise of the loss."""
        return float(self.losses().sum())

    def choose(self, allowed: float) -> list[TensorFormat]:
        """Return formats whose expected rise of the loss is no more than what is allowed.

        The first time it is measured what rounding costs: at a first guess of the bits, and once more at
        those that come of it.
        """
        if self.free and not self.coefficients.size:
            self._measure_at(
                first_bits([self.task.numbers[place] for place in self.free], self.ranges)
            )
            self._allocate(allowed)
            self._measure_at([self.bits[place] for place in self.free])
        self._allocate(allowed)
        formats = self._cover(self.ranges)
        with rounded_weights(self.task.numbers, formats):
            seen = ranges_of_all(self.task, self.runner, bits_by_key(self.task.numbers, formats))
        return self._cover({key: each.joined(seen.get(key)) for key, each in self.ranges.items()})

    def losses(self) -> np.ndarray:
        """Return the expected loss of rounding each of the numbers; 0 where the format is stated."""
        found = np.zeros(len(self.task.numbers))
        found[self.free] = loss_of(self.coefficients, [self.bits[place] for place in self.free])
        return found

    def extremes(self, place: int) -> tuple[float, float, float]:
        """Return the least and the largest of some numbers, and the spread of a sample's."""
        each = self.task.numbers[place]
        if each.kernel is not None:
            weights = to_numpy(each.kernel.variable)
            return float(weights.min()), float(weights.max()), 0.0
        found = self.ranges[each.key]
        return found.least, found.largest, found.spread

    def _measure_at(self, bits: list[int]) -> None:
        self.coefficients = measure_coefficients(
            self.runner,
            [self.task.numbers[place] for place in self.free],
            bits,
            self.ranges,
            self.samples,
            self.task.batch_size,
        )

    def _allocate(self, allowed: float) -> None:
        numbers = self.task.numbers
        least = [self._least_bits(place) for place in self.free]
        savings = [numbers[place].multiplications for place in self.free]
        found = iter(choose_bits(self.coefficients, savings, allowed, least))
        self.bits = [next(found) if form is None else form.fractional for form in self.task.stated]

    def _least_bits(self, place: int) -> int:
        """Return the fewest fractional bits: two bits in all, and whole numbers stay what they are."""
        numbers, extremes = self.task.numbers[place], self.extremes(place)
        if numbers.kernel is None and self.ranges[numbers.key].whole:
            return 0
        return _LEAST_WIDTH - format_within(numbers, MOST_FRACTIONAL, *extremes, 0).integer

    def _cover(self, ranges: Mapping[Key, Range]) -> list[TensorFormat]:
        found = []
        for place, (each, stated) in enumerate(
            zip(self.task.numbers, self.task.stated, strict=True)
        ):
            if stated is not None:
                found.append(stated)
                continue
            if each.kernel is not None:
                extremes, margin, mode = self.extremes(place), 0, "SAT"
            else:
                seen = ranges[each.key]
                extremes = (seen.least, seen.largest, seen.spread)
                margin, mode = self.task.margin, self.task.overflow
            made = format_within(each, self.bits[place], *extremes, margin)
            found.append(replace(made, overflow=mode))
        return found


def ranges_of_all(
    task: Task, runner: Runner, fractional: Mapping[Key, int] | None = None
) -> dict[Key, Range]:
    """Return the numbers that occur in each tensor for all data, see :func:`find_ranges`."""
    found: dict[Key, Range] = {}
    for part in task.sources.every():
        for key, each in find_ranges(runner, part, task.batch_size, fractional).items():
            found[key] = each.joined(found.get(key))
    return found
