"""Items of a knapsack that need no search: decided by the linear relaxation and a good selection.

With the relaxation's prices, an item whose reduced value exceeds the distance between the bound and
a known selection is in, or out of, every better one (reduced-cost fixing: Dantzig, Fulkerson and
Johnson, Operations Research 2, 1954). Of many items only a few stay open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from fabricfit.knapsack.bounds import fractional_bound
from fabricfit.knapsack.greedy import by_rate, fill, greedy_selection
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult

__all__ = ["Reduction", "reduce_items"]

_CORE = 20_000


@dataclass(frozen=True, eq=False)
class Reduction:
    """What is left of a knapsack to decide.

    Parameters
    ----------
    problem
        The whole problem.
    best
        Indices of a selection that fits.
    bound
        No selection is worth more.
    always
        Indices of the items that any better selection has.
    rest
        Indices of the items it may have.
    """

    problem: ItemProblem
    best: np.ndarray
    bound: float
    always: np.ndarray
    rest: np.ndarray

    def result(self, bound: float, taken: np.ndarray | None) -> KnapsackResult:
        """Complete a solution of the rest.

        Parameters
        ----------
        bound
            What has been proven meanwhile of the whole problem.
        taken
            Which of the rest are selected, shape ``(len(rest),)``, bool; None where nothing was found.
        """
        values, best = self.problem.values, self.best
        if taken is not None:
            selected = np.zeros(values.size, bool)
            selected[self.always] = selected[self.rest[taken]] = True
            filled = fill(self.problem, np.argsort(-values, kind="stable"), selected)
            if values[filled].sum() > values[best].sum():
                best = np.flatnonzero(filled)
        value = float(values[best].sum())
        bound = min(bound, self.bound)
        return self.problem.result(best, bound, optimal=bound <= value * (1 + 1e-12))


def reduce_items(problem: ItemProblem) -> Reduction:
    """Decide what can be decided without a search."""
    values, weights, capacity = problem.values, problem.weights, problem.capacity
    best = greedy_selection(problem)
    nothing = np.empty(0, np.int64)
    items = np.flatnonzero((weights <= capacity[:, None]).all(axis=0) & (values > 0))
    if best.size == values.size or not items.size:
        return Reduction(problem, best, float(values[best].sum()), best, nothing)
    plain = fractional_bound(values[items], weights[:, items], capacity)
    prices = _find_prices(values[items], weights[:, items], capacity)
    asked = prices @ weights[:, items]
    reduced = values[items] - asked
    bound = float(prices @ capacity + np.maximum(reduced, 0).sum())
    bound = min(bound + 1e-13 * abs(bound), plain)
    start = np.logical_not(weights.any(axis=0))
    second = np.flatnonzero(fill(problem, items[by_rate(values[items], asked)], start))
    if values[second].sum() > values[best].sum():
        best = second
    lead = bound - float(values[best].sum())
    undecided = np.abs(reduced) <= lead * (1 + 1e-9) + 1e-13 * abs(bound)
    always = items[(reduced > 0) & ~undecided]
    return Reduction(problem, best, bound, always, items[undecided])


def _find_prices(values: np.ndarray, weights: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """Return near-optimal prices of the resources, from the items near the threshold."""
    if capacity.size == 1:
        order = by_rate(values, weights[0])
        broken = int(np.searchsorted(np.cumsum(weights[0, order]), capacity[0], "right"))
        if broken == order.size:
            return np.zeros(1)
        return values[order[[broken]]] / weights[0, order[broken]]
    size = values.size
    if size <= _CORE:
        return _solve_relaxation(values, weights, capacity, np.zeros(capacity.size))
    drawn = np.random.default_rng(0).choice(size, _CORE, replace=False)
    share = capacity * (_CORE / size)
    prices = _solve_relaxation(values[drawn], weights[:, drawn], share, np.zeros(capacity.size))
    wanted = _CORE
    while wanted < size:
        reduced = values - prices @ weights
        near = np.argpartition(np.abs(reduced) / values, wanted)[:wanted]
        sure = reduced > 0
        sure[near] = False
        left = capacity - weights[:, sure].sum(axis=1)
        if (left >= 0).all():
            prices = _solve_relaxation(values[near], weights[:, near], left, prices)
            changed = (values > prices @ weights) != sure
            changed[near] = False
            if not changed.any():
                return prices
        wanted *= 4
    return prices


def _solve_relaxation(
    values: np.ndarray, weights: np.ndarray, capacity: np.ndarray, prices: np.ndarray
) -> np.ndarray:
    """Solve the linear relaxation; return its prices, or the given ones where that fails."""
    value_scale = float(values.max())
    row_scale = weights.max(axis=1)
    row_scale[row_scale == 0] = 1.0
    result = linprog(
        -values / value_scale,
        A_ub=weights / row_scale[:, None],
        b_ub=capacity / row_scale,
        bounds=(0, 1),
        method="highs-ds",
    )
    if result.status != 0:
        return prices
    return np.maximum(-result.ineqlin.marginals, 0) * value_scale / row_scale
