"""Sharing values along a line: the cheapest way to cut sorted weights into runs of one value each.

For one input of a layer, sort its weights. Weights that share a value are neighbours then, so that a
dynamic program over the sorted weights finds the best of all ways to share (Wang and Song,
"Ckmeans.1d.dp", The R Journal 3/2, 2011), with one more choice for each weight: to stand alone at a
price of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

__all__ = ["Runs", "cheapest_runs"]


@dataclass(frozen=True)
class Runs:
    """Sorted weights, and what moving each of them loses.

    Parameters
    ----------
    values
        Weights in ascending order along the last axis, shape ``(R, n)``.
    importance
        Loss of moving a weight by 1, shape ``(R, n)``, at least 0.
    power
        1 if the loss grows as the distance, 2 if as its square.
    """

    values: np.ndarray
    importance: np.ndarray
    power: Literal[1, 2]

    @cached_property
    def _mass(self) -> np.ndarray:
        return _sum_running(self.importance)

    @cached_property
    def _first(self) -> np.ndarray:
        return _sum_running(self.importance * self.values)

    @cached_property
    def _second(self) -> np.ndarray:
        return _sum_running(self.importance * np.square(self.values))

    @cached_property
    def _is_even(self) -> bool:
        return bool((self.importance == self.importance[:1, :1]).all() and self.importance.any())

    def center(self, start: np.ndarray, stop: int | np.ndarray) -> np.ndarray:
        """Return the value that loses least for each run ``start <= k < stop``.

        Parameters
        ----------
        start
            First members, shape ``(R, S)``.
        stop
            One past the last member.
        """
        if self.power == 2:
            mass = self._sum_between(self._mass, start, stop)
            plain = np.take_along_axis(self.values, start, 1)
            sums = self._sum_between(self._first, start, stop)
            return np.where(mass > 0, sums / np.where(mass > 0, mass, 1), plain)
        return np.take_along_axis(self.values, self._find_median(start, stop), 1)

    def loss(self, start: np.ndarray, stop: int | np.ndarray) -> np.ndarray:
        """Return the loss of giving all members of ``start <= k < stop`` one value, shape ``(R, S)``.

        The arguments are those of :meth:`center`.

        It is the least there is, times ``n / (n - 1)`` for n members: see :mod:`fabricfit.choices.ranking`.
        """
        if self.power == 2:
            mass = self._sum_between(self._mass, start, stop)
            first = self._sum_between(self._first, start, stop)
            second = self._sum_between(self._second, start, stop)
            spread = second - np.square(first) / np.where(mass > 0, mass, 1)
        else:
            middle = self._find_median(start, stop)
            value = np.take_along_axis(self.values, middle, 1)
            below = value * self._sum_between(self._mass, start, middle) - self._sum_between(
                self._first, start, middle
            )
            above = self._sum_between(self._first, middle, stop) - value * self._sum_between(
                self._mass, middle, stop
            )
            spread = below + above
        members = stop - start
        return np.where(
            members > 1, np.maximum(spread, 0) * members / np.maximum(members - 1, 1), 0
        )

    def _find_median(self, start: np.ndarray, stop: int | np.ndarray) -> np.ndarray:
        """Return the member at which half of a run's importance is reached."""
        if self._is_even:
            return (start + np.asarray(stop) - 1) // 2
        rows, count = self.values.shape
        whole = self._mass[:, -1:]
        goal = (
            np.take_along_axis(self._mass, start, 1) + self._sum_before(self._mass, stop, start)
        ) / 2
        # One search for all rows: each row's sums are moved into an interval of their own.
        shift = np.arange(rows)[:, None] * 2.0
        scale = np.where(whole > 0, whole, 1)
        line = (self._mass / scale + shift).reshape(-1)
        found = np.searchsorted(line, (goal / scale + shift).reshape(-1)).reshape(start.shape)
        found = found - np.arange(rows)[:, None] * (count + 1) - 1
        last = np.broadcast_to(np.asarray(stop), start.shape) - 1
        return np.clip(found, start, last)

    def _sum_between(
        self, sums: np.ndarray, start: np.ndarray, stop: int | np.ndarray
    ) -> np.ndarray:
        return self._sum_before(sums, stop, start) - np.take_along_axis(sums, start, 1)

    @staticmethod
    def _sum_before(sums: np.ndarray, stop: int | np.ndarray, like: np.ndarray) -> np.ndarray:
        where = np.broadcast_to(np.asarray(stop), like.shape)
        return np.take_along_axis(sums, where, 1)


def cheapest_runs(
    runs: Runs, alone: np.ndarray, per_run: float, per_member: float, longest: int | None = None
) -> np.ndarray:
    """Cut sorted weights into runs that share a value, and weights that stand alone.

    Parameters
    ----------
    runs
        The weights.
    alone
        Price of leaving each weight out of all runs, shape ``(R, n)``.
    per_run, per_member
        Price of a run beside its loss, and of each of its members.
    longest
        Most members of a run; all if it is None.

    Returns
    -------
    array of int, shape ``(R, n)``
        The first member of the run that each weight belongs to; -1 where it stands alone. No other way
        has a smaller sum of prices and losses.
    """
    rows, count = runs.values.shape
    best = np.zeros((rows, count + 1))
    came = np.full((rows, count + 1), -1)
    for stop in range(1, count + 1):
        first = max(0, stop - (longest or count))
        start = np.broadcast_to(np.arange(first, stop), (rows, stop - first))
        total = best[:, first:stop] + runs.loss(start, stop)
        total += per_run + per_member * (stop - start)
        nearest = np.argmin(total, axis=1)
        shared = np.take_along_axis(total, nearest[:, None], 1)[:, 0]
        single = best[:, stop - 1] + alone[:, stop - 1]
        best[:, stop] = np.minimum(single, shared)
        came[:, stop] = np.where(single <= shared, -1, nearest + first)
    return _trace_back(came)


def _trace_back(came: np.ndarray) -> np.ndarray:
    """Walk back from the end of every row, marking the run that each weight is in."""
    rows, stops = came.shape
    member = np.empty((rows, stops - 1), came.dtype)
    run = np.full(rows, -1)  # the first member of the run that is being walked through
    for stop in range(stops - 1, 0, -1):
        run = np.where(run >= 0, run, came[:, stop])
        member[:, stop - 1] = run
        run = np.where(run == stop - 1, -1, run)
    return member


def _sum_running(terms: np.ndarray) -> np.ndarray:
    sums = np.zeros((terms.shape[0], terms.shape[1] + 1))
    np.cumsum(terms, axis=1, out=sums[:, 1:], dtype=np.float64)
    return sums
