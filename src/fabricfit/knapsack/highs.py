"""Mixed-integer programming with HiGHS, for items whose costs have nothing in common."""

from __future__ import annotations

import time

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from fabricfit.knapsack.presolve import Reduction, reduce_items
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult, exact_use
from fabricfit.knapsack.registry import Options, register

__all__ = ["branch", "highs"]

_CUTS = 20
"""Solutions that HiGHS counts as feasible by its tolerance, yet do not fit, before the search ends."""

_SCALE = 1e4
"""Largest value that HiGHS is given: its absolute gap is then relative to the values."""


@register("highs")
def highs(problem: ItemProblem, options: Options) -> KnapsackResult:
    """Solve with HiGHS over the items that the linear relaxation leaves open.

    What HiGHS returns is rounded. Should that not fit, the items that are too much together are
    excluded by a cover inequality, and it solves again.
    """
    deadline = time.perf_counter() + options.time_limit
    return branch(reduce_items(problem), deadline)


def branch(reduction: Reduction, deadline: float) -> KnapsackResult:
    """Decide the open items with HiGHS.

    Parameters
    ----------
    reduction
        The problem, reduced.
    deadline
        Value of :func:`time.perf_counter` at which to stop.
    """
    problem, always, rest = reduction.problem, reduction.always, reduction.rest
    if not rest.size:
        # Every other item is decided: no selection is better than the one at hand.
        return reduction.result(float(problem.values[reduction.best].sum()), None)
    sure = float(problem.values[always].sum())
    scale = _SCALE / float(problem.values[rest].max())
    constraints = [_make_capacity_rows(problem, always, rest)]
    bound = reduction.bound
    for _ in range(_CUTS):
        left = deadline - time.perf_counter()
        if left <= 0:
            break
        found = milp(
            -problem.values[rest] * scale,
            constraints=constraints,
            integrality=np.ones(rest.size),
            bounds=Bounds(0, 1),
            options={"time_limit": left, "mip_rel_gap": 0.0},
        )
        if found.mip_dual_bound is not None and np.isfinite(found.mip_dual_bound):
            best = float(problem.values[reduction.best].sum())
            bound = min(bound, max(sure - float(found.mip_dual_bound) / scale, best))
        if found.x is None:
            break
        selected = found.x > 0.5
        if (
            _sum_usage(problem, np.concatenate([always, rest[selected]])) <= problem.capacity
        ).all():
            return reduction.result(bound, selected)
        constraints.append(LinearConstraint(selected.astype(float), ub=selected.sum() - 1))
    return reduction.result(bound, None)


def _make_capacity_rows(
    problem: ItemProblem, always: np.ndarray, rest: np.ndarray
) -> LinearConstraint:
    """Whole weights stay as they are, others are scaled to at most 1."""
    weights = problem.weights[:, rest]
    scale = weights.max(axis=1)
    scale[(scale == 0) | (weights == np.floor(weights)).all(axis=1)] = 1.0
    room = np.maximum(problem.capacity - _sum_usage(problem, always), 0) / scale
    return LinearConstraint(weights / scale[:, None], ub=room)


def _sum_usage(problem: ItemProblem, indices: np.ndarray) -> np.ndarray:
    return exact_use(np.ones(indices.size, np.int64), problem.weights[:, indices].T)
