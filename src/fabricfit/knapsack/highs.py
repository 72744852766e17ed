"""Mixed-integer programming with HiGHS, for items whose costs have nothing in common."""

from __future__ import annotations

import time

import numpy as np

from fabricfit.knapsack.exchange import Alternatives
from fabricfit.knapsack.integer_program import solve_binary
from fabricfit.knapsack.presolve import Reduction, reduce_items
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult, exact_use
from fabricfit.knapsack.registry import Options, register

__all__ = ["branch", "highs"]


_EXCHANGED = 200
"""Open items up to which exchanges improve a selection before HiGHS does."""

_KICKS = 20
"""How often a few of them are changed at random before exchanges begin anew."""


@register("highs")
def highs(problem: ItemProblem, options: Options) -> KnapsackResult:
    """Solve with HiGHS over the items that the linear relaxation leaves open.

    See :mod:`fabricfit.knapsack.integer_program`.
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
    sure, best = (float(problem.values[which].sum()) for which in (always, reduction.best))
    left = deadline - time.perf_counter()
    if left <= 0:
        return reduction.result(reduction.bound, None)

    def fits(selected: np.ndarray) -> bool:
        taken = np.concatenate([always, rest[selected]])
        return bool((_sum_usage(problem, taken) <= problem.capacity).all())

    room = np.maximum(problem.capacity - _sum_usage(problem, always), 0)
    known = _exchange(reduction, room)
    values = problem.values[rest]
    found = solve_binary(
        -values,
        problem.weights[:, rest],
        room,
        seconds=left,
        within=-float(values[known].sum()) if fits(known) else None,
        fits=fits,
    )
    selected = known if found.chosen is None else found.chosen
    value = sure + float(values[selected].sum()) if fits(selected) else best
    bound = min(reduction.bound, max(sure - found.bound, value, best))
    return reduction.result(bound, selected if fits(selected) else None)


def _exchange(reduction: Reduction, room: np.ndarray) -> np.ndarray:
    """Return which of the open items are selected where exchanges of one or two make it no better."""
    problem, rest = reduction.problem, reduction.rest
    selected = np.isin(rest, reduction.best)
    if rest.size > _EXCHANGED:
        return selected
    scale = np.where(room > 0, room, 1.0)
    none = np.zeros((rest.size, room.size))
    costs = np.concatenate([none, problem.weights[:, rest].T / scale])
    values = problem.values[rest] / max(float(problem.values[rest].max()), 1e-300)
    alternatives = Alternatives(
        np.tile(np.arange(rest.size), 2),
        np.concatenate([np.zeros(rest.size), -values]),
        costs,
        room / scale,
    )
    found = alternatives.search(np.arange(rest.size) + rest.size * selected, _KICKS)
    return selected if found is None else found >= rest.size


def _sum_usage(problem: ItemProblem, indices: np.ndarray) -> np.ndarray:
    return exact_use(np.ones(indices.size, np.int64), problem.weights[:, indices].T)
