"""The best exact way that is known for a problem."""

from __future__ import annotations

import time

import numpy as np

from fabricfit.knapsack.grouped import solve_grouped
from fabricfit.knapsack.highs import branch
from fabricfit.knapsack.presolve import Reduction, reduce_items
from fabricfit.knapsack.problem import GroupedProblem, ItemProblem, KnapsackResult, exact_use
from fabricfit.knapsack.registry import Options, register

__all__ = ["exact"]

_FEW = 64
"""Different costs up to which items are always solved by layers of equal cost."""

_MANY = 512
"""Different costs up to which they are where enough items share a cost."""

_SHARED = 8
"""Items of one cost, in the mean, that are enough."""

_OPEN = 1000
"""Items left open by bounds, up to which one resource is solved by layers as well."""


@register("exact", "CBC_MIP")
def exact(problem: ItemProblem, options: Options) -> KnapsackResult:
    """Put items of equal cost together, and solve as layers where that is promising.

    That is where there are few different costs, or where one resource and the relaxation leave few
    items open. Anything else is solved by HiGHS. ``'CBC_MIP'`` is the historical default name; CBC is
    not used.
    """
    deadline = time.perf_counter() + options.time_limit
    if not problem.values.size:
        return problem.result(np.empty(0, np.int64), optimal=True)
    costs, owner = _find_distinct_columns(problem.weights)
    if len(costs) <= max(_FEW, min(_MANY, problem.values.size // _SHARED)):
        bound, mask = _solve_layered(problem, costs, owner, deadline)
        return problem.result(np.flatnonzero(mask), bound, optimal=bound is None)
    reduction = reduce_items(problem)
    if problem.capacity.size == 1 and 0 < reduction.rest.size <= _OPEN:
        return _solve_reduced(reduction, deadline)
    return branch(reduction, deadline)


def _solve_layered(
    problem: ItemProblem, costs: np.ndarray, owner: np.ndarray, deadline: float
) -> tuple[float | None, np.ndarray]:
    """Solve items of few different costs; return a bound (None: an optimum) and what is selected."""
    order = np.argsort(owner, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(owner, minlength=len(costs)))[:-1])
    layers = GroupedProblem([problem.values[m] for m in members], costs, problem.capacity)
    left = max(deadline - time.perf_counter(), 1e-3)
    found = solve_grouped(layers, time_limit=left)
    mask = np.zeros(problem.values.size, bool)
    for member, kept in zip(members, found.choice, strict=True):
        mask[member[kept]] = True
    return (None if found.status == "optimal" else found.bound), mask


def _solve_reduced(reduction: Reduction, deadline: float) -> KnapsackResult:
    """Solve the items that are left open in the same way."""
    whole, rest = reduction.problem, reduction.rest
    spent = whole.weights[:, reduction.always]
    room = whole.capacity - exact_use(np.ones(spent.shape[1], np.int64), spent.T)
    if (room < 0).any():
        return branch(reduction, deadline)
    part = ItemProblem(whole.values[rest], whole.weights[:, rest], room)
    bound, mask = _solve_layered(part, *_find_distinct_columns(part.weights), deadline)
    if bound is None:
        bound = float(part.values[mask].sum())
    sure = float(whole.values[reduction.always].sum())
    best = float(whole.values[reduction.best].sum())
    return reduction.result(max(sure + bound, best), mask)


def _find_distinct_columns(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different columns as rows, shape ``(L, M)``, and for each item which it has."""
    codes = np.zeros(weights.shape[1], np.int64)
    for row in weights:
        each = np.unique(row, return_inverse=True)[1].reshape(-1)
        both = codes * (int(each.max(initial=0)) + 1) + each
        codes = np.unique(both, return_inverse=True)[1].reshape(-1)
    first = np.unique(codes, return_index=True)[1]
    return weights[:, first].T, codes
