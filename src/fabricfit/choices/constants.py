"""Weights that are constants in the logic: each may be kept, shared, rounded to a cheap constant, or zeroed.

Where a layer multiplies by constants (hls4ml's Latency strategy, Resource at a reuse factor of 1, and
distributed arithmetic), equal weights on one input are multiplied once, and some constants need no
multiplier at all. The weights of one input are therefore one item: at given prices for the resources,
dynamic programming over the sorted weights finds what is best for all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.choices.base import Response, Treatment
from fabricfit.choices.sharing import Runs, cheapest_runs
from fabricfit.description.layout import Layout, standard_layout
from fabricfit.errors import InvalidInputError, spell

__all__ = ["ConstantChoices", "ConstantLevel", "ConstantPrices"]


@dataclass(frozen=True)
class ConstantLevel:
    """Constants of the same cost.

    Parameters
    ----------
    values
        The constants, ascending.
    cost
        Cost of each weight that has one of them, shape ``(M,)``.
    """

    values: np.ndarray
    cost: np.ndarray


@dataclass(frozen=True)
class ConstantPrices:
    """Costs of a weight of a layer, by what it is.

    Parameters
    ----------
    levels
        Kinds of constants. The first is zero alone and costs nothing; the second costs least of the
        others.
    kept
        Cost of each weight that keeps a value of its own choice, shared or not, shape ``(M,)``.
    distinct
        Further cost of each different one of those values, on every input, shape ``(M,)``.
    """

    levels: tuple[ConstantLevel, ...]
    kept: np.ndarray
    distinct: np.ndarray

    def __post_init__(self) -> None:
        zero = self.levels[0] if self.levels else None
        if len(self.levels) < 2 or zero is None or zero.values.any() or zero.cost.any():
            raise InvalidInputError(
                "levels must be at least two, the first of them zero alone, which costs nothing. "
                f"Received: {spell(self.levels)}"
            )


class ConstantChoices:
    """Treatments of the weights on each input of a layer.

    Parameters
    ----------
    kernel
        The weights.
    prices
        Cost of each, by what it is.
    loss
        Function of a change of every weight, in the kernel's shape, that returns what each loses.
    fixed
        Usage of the layer without any weight, shape ``(M,)``.
    minimum_weights
        Weights that are not zeroed in any case: those that would lose most.
    layout
        Which axes of the kernel are inputs and outputs, if not the standard ones.
    """

    def __init__(
        self,
        kernel: np.ndarray,
        prices: ConstantPrices,
        loss: Callable[[np.ndarray], np.ndarray],
        fixed: np.ndarray,
        minimum_weights: int = 1,
        layout: Layout | None = None,
    ) -> None:
        self.fixed = np.asarray(fixed, float)
        self.prices = prices
        self._kernel = kernel
        self._layout = layout or standard_layout(kernel.shape)
        matrix = self._layout.matrix(np.asarray(kernel, np.float64))
        self._order = np.argsort(matrix, axis=1, kind="stable")
        values = self._sort(matrix)

        def sorted_loss(change: np.ndarray) -> np.ndarray:
            """Lose by a change that is given in sorted order."""
            plain = self._restore_order(np.broadcast_to(change, values.shape))
            return self._sort(self._layout.matrix(np.asarray(loss(plain), np.float64)))

        self._losses = [
            sorted_loss(_find_nearest(level.values, values) - values) for level in prices.levels
        ]
        self._protect_weights(minimum_weights)
        one, two = sorted_loss(np.ones(1)), sorted_loss(np.full(1, 2.0))
        self._runs = Runs(values, one, 1 if np.allclose(two, 2 * one) else 2)
        # Sharing follows distances and squares only; by any other law weights are kept one by one.
        follows = self._runs.power == 1 or np.allclose(two, 4 * one)
        self._shares = bool(follows and prices.distinct.any())
        self._level_costs = np.stack([level.cost for level in prices.levels])

    def respond(self, prices: np.ndarray) -> Response:
        """Choose for the weights of every input at prices for the resources."""
        level, alone = self._choose_alone(prices)
        per_run, per_member = (
            float(cost @ prices) for cost in (self.prices.distinct, self.prices.kept)
        )
        if self._shares:
            runs = cheapest_runs(self._runs, alone, per_run, per_member)
        else:
            runs = np.where(per_run + per_member < alone, self._list_places(), -1)
        return self._make_response(np.where(runs >= 0, runs, level))

    def cheapest(self) -> Response:
        """Zero all weights that need not stay, and round those to the cheapest constant."""
        return self._make_response(np.where(np.isfinite(self._losses[0]), -1, -2))

    def merged(self, first: Any, second: Any, use_second: np.ndarray) -> Any:
        """Mix two picks, input by input."""
        return np.where(use_second, second, first)

    def treatment(self, pick: Any) -> Treatment:
        """Spell out which weights keep a value of their own, which share one, and the constants."""
        count, columns = pick.shape
        values, start = self._runs.values, pick.astype(np.int64)
        runs, sizes = self._list_runs(pick)
        several = sizes > 1
        centers, shared = np.zeros(pick.shape), np.zeros(pick.shape, bool)
        place, column = (each[several] for each in runs)
        centers[place, column] = self._runs.center(place, place + sizes[several], column)
        shared[place, column] = True
        first = np.maximum(start, 0)
        shared = (start >= 0) & np.take_along_axis(shared, first, axis=0)
        offset = np.where(shared, np.take_along_axis(centers, first, axis=0), 0.0)
        for number, level in enumerate(self.prices.levels):
            there = pick == -1 - number
            offset[there] = _find_nearest(level.values, values[there])
        cluster = np.where(shared, np.arange(columns) * count + start + 1, 0)
        return Treatment(
            self._restore_order((start >= 0) & ~shared).astype(self._kernel.dtype),
            self._restore_order(offset).astype(self._kernel.dtype),
            self._restore_order(cluster).astype(np.int32),
        )

    def _choose_alone(self, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the best kind of constant for each weight, as picks have it, and its loss and price."""
        paid = self._level_costs @ prices
        level = np.full(self._runs.values.shape, -1, np.int16)
        best = self._losses[0] + paid[0]
        for number in range(1, len(paid)):
            total = self._losses[number] + paid[number]
            np.copyto(level, -1 - number, where=total < best)
            np.minimum(best, total, out=best)
        return level, best

    def _make_response(self, pick: np.ndarray) -> Response:
        # As small as it can be: responses at several prices are kept.
        pick = pick.astype(np.min_scalar_type(-max(len(pick), len(self._losses))))
        loss = np.zeros(pick.shape[1])
        cost = np.zeros((pick.shape[1], len(self.prices.kept)))
        kept = np.full(pick.shape[1], len(pick))
        for number, (losses, each) in enumerate(zip(self._losses, self._level_costs, strict=True)):
            there = pick == -1 - number
            loss += np.where(there, losses, 0).sum(axis=0)
            counted = np.count_nonzero(there, axis=0)
            kept -= counted
            cost += counted[:, None] * each
        (start, column), sizes = self._list_runs(pick)
        lost = self._runs.loss(start, start + sizes, column)
        loss += np.bincount(column, lost, minlength=pick.shape[1])
        distinct = np.bincount(column, minlength=pick.shape[1])
        cost += kept[:, None] * self.prices.kept + distinct[:, None] * self.prices.distinct
        return Response(loss, cost, pick)

    def _list_runs(self, pick: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return where runs start, as places and inputs, and how many members each has."""
        place, column = np.nonzero(pick == self._list_places())
        member, of = np.nonzero(pick >= 0)
        sizes = np.bincount(pick[member, of].astype(np.int64) * pick.shape[1] + of)
        return (place, column), sizes[sizes > 0]

    def _list_places(self) -> np.ndarray:
        return np.arange(len(self._runs.values))[:, None]

    def _protect_weights(self, minimum: int) -> None:
        """Make it impossible to zero the weights that would lose most by it."""
        lost = np.ascontiguousarray(self._losses[0].T)
        rank = np.argsort(-lost, axis=None, kind="stable")[:minimum]
        lost.reshape(-1)[rank] = np.inf
        self._losses[0] = np.ascontiguousarray(lost.T)

    def _sort(self, matrix: np.ndarray) -> np.ndarray:
        """Return a matrix with one column for each input, its weights in the order of choices."""
        return np.ascontiguousarray(np.take_along_axis(matrix, self._order, axis=1).T)

    def _restore_order(self, values: np.ndarray) -> np.ndarray:
        plain = np.empty(values.shape[::-1], values.dtype)
        np.put_along_axis(plain, self._order, values.T, axis=1)
        return self._layout.kernel(plain, self._kernel.shape)


def _find_nearest(constants: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the nearest of some ascending constants to each value, the smaller of two."""
    if constants.size == 1:
        return np.full(values.shape, float(constants[0]))
    above = np.clip(np.searchsorted(constants, values), 1, constants.size - 1)
    low, high = constants[above - 1], constants[above]
    return np.where(values - low <= high - values, low, high)
