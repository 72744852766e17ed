"""A good selection at once: the most valuable items for their weight first."""

from __future__ import annotations

import numpy as np

from fabricfit.knapsack.bounds import fractional_bound
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult, exact_use
from fabricfit.knapsack.registry import Options, register

__all__ = ["by_rate", "fill", "greedy", "greedy_selection"]


@register("greedy")
def greedy(problem: ItemProblem, options: Options) -> KnapsackResult:
    """Take items by value for weight, going on after one that does not fit.

    The weight of an item is the sum of its shares of the capacities (Toyoda, "A simplified
    algorithm for obtaining approximate solutions to zero-one programming problems", Management
    Science 21, 1975). Where a single item is worth more than all of these together, it is selected and
    what is left is filled: with one resource the value is then at least half of an optimum.
    """
    selected = greedy_selection(problem)
    bound = fractional_bound(problem.values, problem.weights, problem.capacity)
    return problem.result(selected, bound, optimal=selected.size == problem.values.size)


def greedy_selection(problem: ItemProblem) -> np.ndarray:
    """Return the indices of the items that :func:`greedy` selects, ascending."""
    capacity = np.where(problem.capacity > 0, problem.capacity, 1.0)
    order = by_rate(problem.values, (problem.weights / capacity[:, None]).sum(axis=0))
    nothing = np.zeros(problem.values.size, bool)
    selected = fill(problem, order, nothing)
    possible = np.flatnonzero((problem.weights <= problem.capacity[:, None]).all(axis=0))
    if possible.size:
        best = possible[np.argmax(problem.values[possible])]
        if problem.values[best] > problem.values[selected].sum():
            nothing[best] = True
            selected = fill(problem, order, nothing)
    return np.flatnonzero(selected)


def by_rate(values: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Order items by value for price, the free ones first and equal ones as they come."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = np.where(price > 0, values / price, np.inf)
    return np.argsort(-rate, kind="stable")


def fill(problem: ItemProblem, order: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """Add items in an order, each that still fits.

    Parameters
    ----------
    problem
        The problem.
    order
        Indices of items; those selected already are skipped.
    selected
        What is in already and fits, shape ``(N,)``, bool.

    Returns
    -------
    array of shape ``(N,)``, bool
    """
    selected = selected.copy()
    runs: list[np.ndarray] = []
    slack = problem.capacity - _sum_usage(problem, np.flatnonzero(selected))
    order = order[~selected[order]]
    while order.size:
        weights = problem.weights[:, order]
        possible = (weights <= slack[:, None]).all(axis=0)
        order, weights = order[possible], weights[:, possible]
        fits = (np.cumsum(weights, axis=1) <= slack[:, None]).all(axis=0)
        run = int(np.argmin(fits)) if not fits.all() else order.size
        runs.append(order[:run])
        slack = slack - weights[:, :run].sum(axis=1)
        order = order[run:]
    added = np.concatenate([np.empty(0, np.int64), *runs])
    selected[added] = True
    for index in added[::-1]:
        if (_sum_usage(problem, np.flatnonzero(selected)) <= problem.capacity).all():
            break
        selected[index] = False
    return selected


def _sum_usage(problem: ItemProblem, indices: np.ndarray) -> np.ndarray:
    return exact_use(np.ones(indices.size, np.int64), problem.weights[:, indices].T)
