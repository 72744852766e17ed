"""Branch and bound of OR-Tools, for the historical name."""

from __future__ import annotations

import numpy as np

from fabricfit.errors import require
from fabricfit.knapsack.bounds import fractional_bound
from fabricfit.knapsack.greedy import greedy_selection
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult, exact_use
from fabricfit.knapsack.registry import Options, register

__all__ = ["branch_bound"]

_MOST = float(2**52)


@register("branch_bound")
def branch_bound(problem: ItemProblem, options: Options) -> KnapsackResult:
    """Search with OR-Tools' knapsack solver, never worse than the greedy selection.

    OR-Tools works on 64-bit integers. Whole numbers are passed on as they are; other weights are
    scaled and rounded up, capacities down, so that what fits there fits here. With several
    resources, and with values or weights that are not whole, its selection is not counted as a
    proven optimum.
    """
    module = require("ortools.algorithms.python.knapsack_solver", "ortools", "'branch_bound'")
    first = greedy_selection(problem)
    fits = (problem.weights <= problem.capacity[:, None]).all(axis=0)
    items = np.flatnonzero(fits & (problem.values > 0))
    if first.size == problem.values.size or not items.size:
        return problem.result(first, optimal=True)
    values, values_whole = _scale_to_integers(problem.values[items], options.scaling_factor)
    weights, capacity, weights_whole = _round_weights(problem.weights[:, items], problem.capacity)
    solver = module.KnapsackSolver(
        module.SolverType.KNAPSACK_MULTIDIMENSION_BRANCH_AND_BOUND_SOLVER, "fabricfit"
    )
    solver.set_time_limit(options.time_limit)
    solver.init(values.tolist(), weights.tolist(), capacity.tolist())
    solver.solve()
    taken = np.array([solver.best_solution_contains(index) for index in range(items.size)], bool)
    free = np.flatnonzero(~problem.weights.any(axis=0) & (problem.values == 0))
    selected = np.concatenate([items[taken], free])
    used = exact_use(np.ones(selected.size, np.int64), problem.weights[:, selected].T)
    proven = values_whole and weights_whole and capacity.size == 1 and solver.is_solution_optimal()
    bound = fractional_bound(problem.values, problem.weights, problem.capacity)
    found = problem.values[selected].sum()
    if (used > problem.capacity).any() or found < problem.values[first].sum():
        return problem.result(first, bound)
    return problem.result(selected, bound, optimal=proven)


def _scale_to_integers(values: np.ndarray, factor: float | None) -> tuple[np.ndarray, bool]:
    """Return values as integers, and whether they are exactly proportional."""
    whole = bool((values == np.floor(values)).all()) and values.sum() < _MOST
    if factor is None:
        factor = 1.0 if whole else _MOST / float(values.sum())
    if values.sum() * factor > _MOST:
        factor = _MOST / float(values.sum())
    scaled = np.floor(values * factor)
    return scaled.astype(np.int64), whole and factor == np.floor(factor)


def _round_weights(
    weights: np.ndarray, capacity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return weights and capacities as integers; what fits these also fits the given ones."""
    all_whole = True
    rows, limits = [], []
    for row, limit in zip(weights, capacity, strict=True):
        whole = bool((row == np.floor(row)).all()) and row.sum() < _MOST
        all_whole &= whole
        limit = min(float(limit), float(row.sum()) * (1 + 1e-12))
        scale = 1.0 if whole else 2.0 ** np.floor(np.log2(_MOST / float(row.sum())))
        rows.append(np.ceil(row * scale).astype(np.int64))
        limits.append(int(np.floor(limit * scale)))
    return np.array(rows), np.array(limits, np.int64), all_whole
