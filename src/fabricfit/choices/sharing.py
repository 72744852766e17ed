"""Sharing values along a line: the cheapest way to cut sorted weights into runs of one value each.

For one input of a layer, sort its weights. Weights that share a value are neighbours then, so that a
dynamic program over the sorted weights finds the best of all ways to share (Wang and Song,
"Ckmeans.1d.dp", The R Journal 3/2, 2011), with one more choice for each weight: to stand alone at a
price of its own. All inputs go through the program together, one sorted place after the other.

The loss of one value for a run grows with the run at either end. Long runs are therefore left out by
bounds: where the least price of all that goes before, and the loss of the shortest run of a block of
starts, are together more than the best price that is known, no start in the block can be better. What is
left is about the lengths of the best runs, so that the work grows as the number of weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

__all__ = ["Runs", "cheapest_runs"]

_NEAR = 16
"""Members up to which all runs are tried; longer ones in blocks of starts that their bounds let through."""

_INPUTS = 1024
"""Inputs that go through the program together, so that what each place needs stays in the caches."""


@dataclass(frozen=True)
class Runs:
    """Sorted weights, and what moving each of them loses.

    Parameters
    ----------
    values
        Weights in ascending order along the first axis, shape ``(n, R)``: one column for each input.
    importance
        Loss of moving a weight by 1, shape ``(n, R)``, at least 0.
    power
        1 if the loss grows as the distance, 2 if as its square.
    """

    values: np.ndarray
    importance: np.ndarray
    power: Literal[1, 2]

    @cached_property
    def _sums(self) -> tuple[np.ndarray, ...]:
        """Sums of importance times the values' powers before each place, each of shape ``(n + 1, R)``."""
        terms = [self.importance, self.importance * self.values]
        if self.power == 2:
            terms.append(terms[1] * self.values)
        return tuple(_sum_running(each) for each in terms)

    @cached_property
    def _is_even(self) -> bool:
        return bool((self.importance == self.importance[:1, :1]).all() and self.importance.any())

    @cached_property
    def parts(self) -> tuple[Runs, ...]:
        """The weights of some inputs at a time."""
        columns = range(0, self.values.shape[1], _INPUTS)
        if len(columns) <= 1:
            return (self,)
        several = (slice(first, first + _INPUTS) for first in columns)
        return tuple(
            Runs(self.values[:, each].copy(), self.importance[:, each].copy(), self.power)
            for each in several
        )

    def center(self, start: np.ndarray, stop: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the value that loses least for each run ``start <= k < stop`` of a column.

        Parameters
        ----------
        start
            First members.
        stop
            One past the last member, in the shape of ``start``.
        column
            The inputs that the runs are on, in the shape of ``start``.
        """
        if self.power == 2:
            mass, first = (each[stop, column] - each[start, column] for each in self._sums[:2])
            plain = self.values[start, column]
            return np.where(mass > 0, first / np.where(mass > 0, mass, 1), plain)
        return self.values[self._find_median(start, stop, column), column]

    def loss(self, start: np.ndarray, stop: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the loss of giving all members of ``start <= k < stop`` one value.

        The arguments are those of :meth:`center`.

        It is the least there is, times ``n / (n - 1)`` for n members: see :mod:`fabricfit.choices.ranking`.
        """
        before = [each[start, column] for each in self._sums]
        until = [each[stop, column] for each in self._sums]
        middle = None if self.power == 2 else self._find_median(start, stop, column)
        return self._spread(before, until, middle, column) * _unbiased(stop - start)

    def spreads(
        self, starts: np.ndarray, stop: int, columns: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return the least loss of one value for the members from each start to a stop.

        Parameters
        ----------
        starts
            First members, the same for all inputs.
        stop
            One past the last member.
        columns
            Those of the inputs that matter.

        Returns
        -------
        array of shape ``(len(starts), len(columns))``
            Never less for an earlier start.
        """
        before = [each[starts][:, columns] for each in self._sums]
        until = [each[stop, columns] for each in self._sums]
        if self.power == 2:
            return self._spread(before, until, None, columns)
        if self._is_even:  # the median of all inputs is at the same places
            halves = [self._sums[1][(starts + stop + more) // 2][:, columns] for more in (0, 1)]
            found = before[1]
            found += until[1]
            found -= halves[0]
            found -= halves[1]
            return np.maximum(found, 0, out=found)
        column = np.arange(self.values.shape[1])[columns]
        return self._spread(before, until, self._find_median(starts[:, None], stop, column), column)

    def _spread(
        self,
        before: list[np.ndarray],
        until: list[np.ndarray],
        middle: np.ndarray | None,
        column: np.ndarray | slice,
    ) -> np.ndarray:
        """Return the least loss of one value, from the sums before and until its ends and the median."""
        mass, first = until[0] - before[0], until[1] - before[1]
        if middle is None:
            mass += mass <= 0
            np.square(first, out=first)
            first /= mass
            found = until[2] - before[2]
            found -= first
        else:
            mass_below, first_below = (each[middle, column] for each in self._sums)
            found = before[1] + until[1] - 2 * first_below
            found += self.values[middle, column] * (2 * mass_below - before[0] - until[0])
        return np.maximum(found, 0, out=found)

    def _find_median(
        self, start: np.ndarray, stop: np.ndarray | int, column: np.ndarray
    ) -> np.ndarray:
        """Return the member at which half of a run's importance is reached."""
        if self._is_even:
            return (start + np.asarray(stop) - 1) // 2
        columns, mass = self.values.shape[1], self._sums[0].reshape(-1)
        first, end = start * columns + column, stop * columns + column
        goal = (mass[first] + mass[end]) / 2
        first, end = np.broadcast_arrays(first, end)
        step = 1 << int((stop - start).max(initial=1)).bit_length()
        while step := step // 2:  # as far as less than half is reached
            probe = np.minimum(first + step * columns, end)
            first = np.where(mass.take(probe) < goal, probe, first)
        return first // columns


def cheapest_runs(runs: Runs, alone: np.ndarray, per_run: float, per_member: float) -> np.ndarray:
    """Cut sorted weights into runs that share a value, and weights that stand alone.

    Parameters
    ----------
    runs
        The weights.
    alone
        Price of leaving each weight out of all runs, shape ``(n, R)``.
    per_run, per_member
        Price of a run beside its loss, and of each of its members.

    Returns
    -------
    array of int, shape ``(n, R)``
        The first member of the run that each weight belongs to; -1 where it stands alone. No other way
        has a smaller sum of prices and losses.
    """
    count, columns = runs.values.shape
    member = np.empty((count, columns), np.int32)
    for number, part in enumerate(runs.parts):
        places = slice(number * _INPUTS, (number + 1) * _INPUTS)
        member[:, places] = _Plan(part, per_run, per_member).cut(alone[:, places])
    return member


class _Plan:
    """The dynamic program, for some inputs."""

    def __init__(self, runs: Runs, per_run: float, per_member: float) -> None:
        count, columns = runs.values.shape
        self.runs, self.per_run, self.per_member = runs, per_run, per_member
        self._factor = _unbiased(np.arange(count + 1))
        # Best price of all before a place, less what as many members of runs would cost.
        self._best = np.zeros((count + 1, columns))
        self._came = np.full((count + 1, columns), -1, np.int32)
        # The least of them in blocks that end at a place: of _NEAR, and of twice as many each time.
        blocks = max(-(-count // _NEAR) - 1, 0).bit_length()
        self._sizes = _NEAR << np.arange(blocks)
        self._least = np.zeros((blocks, count + 1, columns))
        self._least[:, 0] = np.inf

    def cut(self, alone: np.ndarray) -> np.ndarray:
        """Return the run of each weight, see :func:`cheapest_runs`."""
        for stop in range(1, len(alone) + 1):
            best, came = self._try_starts(np.arange(max(0, stop - _NEAR), stop), stop)
            single = self._best[stop - 1] + (alone[stop - 1] - self.per_member)
            came[single <= best] = -1
            np.minimum(best, single, out=best)
            if stop > _NEAR:
                self._try_longer(stop, best, came)
            self._best[stop], self._came[stop] = best, came
            self._note_least(stop + 1)
        return _trace_back(self._came)

    def _try_starts(
        self, starts: np.ndarray, stop: int, columns: np.ndarray | slice = slice(None)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the best price of a run that ends at a stop, and where it starts."""
        total = self.runs.spreads(starts, stop, columns)
        total *= self._factor[stop - starts][:, None]
        total += self._best[starts[0] : stop][: starts.size, columns]
        nearest = np.argmin(total, axis=0)
        found = np.min(total, axis=0)
        found += self.per_run
        return found, (nearest + starts[0]).astype(np.int32)

    def _try_longer(self, stop: int, best: np.ndarray, came: np.ndarray) -> None:
        """Improve on the best price by longer runs, in the blocks and inputs where that is possible."""
        sizes = self._sizes[self._sizes < stop]
        bounds = self.runs.spreads(stop - sizes - 1, stop)
        bounds += self._least[np.arange(sizes.size), stop - sizes]
        bounds += self.per_run
        for size, bound in zip(sizes.tolist(), bounds, strict=True):
            columns = np.flatnonzero(_is_better(bound, best, came))
            if columns.size:
                starts = np.arange(max(0, stop - 2 * size), stop - size)
                found, start = self._try_starts(starts, stop, columns)
                gains = _is_better(found, best[columns], came[columns])
                best[columns[gains]], came[columns[gains]] = found[gains], start[gains]

    def _note_least(self, end: int) -> None:
        """Note the least price in each of the blocks that end before a place."""
        if self._sizes.size and end < len(self._best):
            least = self._least
            np.min(self._best[max(0, end - _NEAR) : end], axis=0, out=least[0, end])
            for block, size in enumerate(self._sizes[:-1].tolist()):
                earlier = least[block, max(0, end - size)]
                np.minimum(least[block, end], earlier, out=least[block + 1, end])


def _is_better(price: np.ndarray, best: np.ndarray, came: np.ndarray) -> np.ndarray:
    """Tell where a run is better than the best so far: of equal ones the longest counts."""
    return (price < best) | ((price == best) & (came >= 0))


def _trace_back(came: np.ndarray) -> np.ndarray:
    """Walk back from the last place of every input, marking the run that each weight is in."""
    stops, columns = came.shape
    member = np.empty((stops - 1, columns), came.dtype)
    run = np.full(
        columns, -1, came.dtype
    )  # the first member of the run that is being walked through
    for stop in range(stops - 1, 0, -1):
        run = np.where(run >= 0, run, came[stop])
        member[stop - 1] = run
        run[run == stop - 1] = -1
    return member


def _unbiased(members: np.ndarray) -> np.ndarray:
    """Return what the loss of a run counts for: n / (n - 1), and nothing for a single member."""
    return np.where(members > 1, members / np.maximum(members - 1, 1), 0.0)


def _sum_running(terms: np.ndarray) -> np.ndarray:
    sums = np.zeros((terms.shape[0] + 1, terms.shape[1]))
    np.cumsum(terms, axis=0, out=sums[1:], dtype=np.float64)
    return sums
