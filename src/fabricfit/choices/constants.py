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
from fabricfit.errors import InvalidInputError

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
                f"Received: {self.levels!r}"
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
        values = np.take_along_axis(matrix, self._order, axis=1)
        self._constants = np.stack([_find_nearest(level.values, values) for level in prices.levels])

        def sorted_loss(change: np.ndarray) -> np.ndarray:
            """Lose by a change that is given in sorted order."""
            plain = np.empty_like(matrix)
            np.put_along_axis(plain, self._order, np.broadcast_to(change, matrix.shape), axis=1)
            losses = np.asarray(loss(self._layout.kernel(plain, kernel.shape)), np.float64)
            return np.take_along_axis(self._layout.matrix(losses), self._order, axis=1)

        self._losses = np.stack([sorted_loss(each - values) for each in self._constants])
        self._protect_weights(minimum_weights)
        one, two = sorted_loss(np.ones(1)), sorted_loss(np.full(1, 2.0))
        self._runs = Runs(values, one, 1 if np.allclose(two, 2 * one) else 2)
        # Sharing follows distances and squares only; by any other law weights are kept one by one.
        shares = self._runs.power == 1 or np.allclose(two, 4 * one)
        self._longest = None if shares else 1
        self._level_costs = np.stack([level.cost for level in prices.levels])

    def respond(self, prices: np.ndarray) -> Response:
        """Choose for the weights of every input at prices for the resources."""
        totals = self._losses + (self._level_costs @ prices)[:, None, None]
        level = np.argmin(totals, axis=0)
        alone = np.take_along_axis(totals, level[None], axis=0)[0]
        runs = cheapest_runs(
            self._runs,
            alone,
            float(self.prices.distinct @ prices),
            float(self.prices.kept @ prices),
            self._longest,
        )
        return self._make_response(np.where(runs >= 0, runs, -1 - level))

    def cheapest(self) -> Response:
        """Zero all weights that need not stay, and round those to the cheapest constant."""
        return self._make_response(np.where(np.isfinite(self._losses[0]), -1, -2))

    def merged(self, first: Any, second: Any, use_second: np.ndarray) -> Any:
        """Mix two picks, input by input."""
        return np.where(use_second[:, None], second, first)

    def treatment(self, pick: Any) -> Treatment:
        """Spell out which weights keep a value of their own, which share one, and the constants."""
        rows, count = pick.shape
        kept, level = pick >= 0, np.maximum(-1 - pick, 0)
        start, stop = self._find_run_ends(pick)
        first = np.maximum(pick, 0)
        shared = kept & (np.take_along_axis(stop - start, first, axis=1) > 1)
        centers = np.take_along_axis(self._runs.center(start, stop), first, axis=1)
        constants = np.take_along_axis(self._constants, level[None], axis=0)[0]
        offset = np.where(shared, centers, np.where(kept, 0, constants))
        cluster = np.where(shared, np.arange(rows)[:, None] * count + pick + 1, 0)
        return Treatment(
            self._restore_order(kept & ~shared).astype(self._kernel.dtype),
            self._restore_order(offset).astype(self._kernel.dtype),
            self._restore_order(cluster).astype(np.int32),
        )

    def _make_response(self, pick: np.ndarray) -> Response:
        kept, level = pick >= 0, np.maximum(-1 - pick, 0)
        alone = np.take_along_axis(self._losses, level[None], axis=0)[0]
        loss = np.where(kept, 0, alone).sum(axis=1)
        loss += self._runs.loss(*self._find_run_ends(pick)).sum(axis=1)
        cost = np.where(kept[..., None], self.prices.kept, self._level_costs[level]).sum(axis=1)
        distinct = (pick == np.arange(pick.shape[1])).sum(axis=1)
        cost = cost + distinct[:, None] * self.prices.distinct
        return Response(loss, cost, pick)

    def _find_run_ends(self, pick: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for every weight, the ends of the run that begins with it; of others, of itself."""
        start = np.broadcast_to(np.arange(pick.shape[1]), pick.shape)
        sizes = np.zeros(pick.shape, np.int64)
        rows, columns = np.nonzero(pick >= 0)
        np.add.at(sizes, (rows, pick[rows, columns]), 1)
        return start, start + np.maximum(sizes, 1)

    def _protect_weights(self, minimum: int) -> None:
        """Make it impossible to zero the weights that would lose most by it."""
        rank = np.argsort(-self._losses[0], axis=None, kind="stable")[:minimum]
        self._losses[0].reshape(-1)[rank] = np.inf

    def _restore_order(self, values: np.ndarray) -> np.ndarray:
        plain = np.empty_like(values)
        np.put_along_axis(plain, self._order, values, axis=1)
        return self._layout.kernel(plain, self._kernel.shape)


def _find_nearest(constants: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the nearest of some ascending constants to each value, the smaller of two."""
    if constants.size == 1:
        return np.full(values.shape, float(constants[0]))
    above = np.clip(np.searchsorted(constants, values), 1, constants.size - 1)
    low, high = constants[above - 1], constants[above]
    return np.where(values - low <= high - values, low, high)
