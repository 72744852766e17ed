"""Exact dynamic programming over the capacity."""

from __future__ import annotations

import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.knapsack.ladder import top_mask
from fabricfit.knapsack.problem import ItemProblem, KnapsackResult
from fabricfit.knapsack.registry import Options, register

__all__ = ["dynamic"]

_CELLS = 4 * 10**9
_ELSEWHERE = "Use implementation='CBC_MIP' instead"


@register("dynamic")
def dynamic(problem: ItemProblem, options: Options) -> KnapsackResult:
    """Solve for one resource and whole weights, a row of the table for each item that matters.

    Bellman's recursion ("Dynamic Programming", 1957): the best value at capacity c is the better of
    leaving the item and of taking it beside the best at ``c - weight``. One bit a cell is kept to
    trace the selection back. Of the items of one weight w only the best ``capacity // w`` can
    matter. There is no time limit; a table that would need too long is refused.

    Raises
    ------
    InvalidInputError
        There are several resources, a weight is not whole, or the table is too large.
    """
    if problem.capacity.size != 1:
        raise InvalidInputError(
            f"'dynamic' needs exactly one resource. Received: {problem.capacity.size}. "
            f"{_ELSEWHERE}."
        )
    exact = problem.weights[0]
    if (exact != np.floor(exact)).any():
        raise InvalidInputError(
            f"'dynamic' needs whole weights. Received: {exact[exact != np.floor(exact)][0]}. "
            f"{_ELSEWHERE}, or scale the weights."
        )
    limit = float(np.floor(problem.capacity[0]))
    if exact.sum() <= limit:
        return problem.result(np.arange(exact.size), optimal=True)
    items = _find_items_that_matter(problem.values, exact, limit)
    unit = int(np.gcd.reduce(exact[items].astype(np.int64), initial=0)) or 1
    places = int(limit) // unit + 1
    if items.size * places > _CELLS:
        raise InvalidInputError(
            f"'dynamic' would need a table of {items.size} by {places} cells, more than "
            f"{_CELLS:.0e}. {_ELSEWHERE}."
        )
    steps = exact[items].astype(np.int64) // unit
    chosen = items[_fill_table(problem.values[items], steps, places)]
    return problem.result(np.concatenate([np.flatnonzero(exact == 0), chosen]), optimal=True)


def _find_items_that_matter(values: np.ndarray, weights: np.ndarray, limit: float) -> np.ndarray:
    possible = np.flatnonzero((weights > 0) & (weights <= limit))
    kept = []
    for weight in np.unique(weights[possible]):
        equal = possible[weights[possible] == weight]
        kept.append(equal[top_mask(values[equal], int(min(limit // weight, equal.size)))])
    return np.sort(np.concatenate([np.empty(0, np.int64), *kept]))


def _fill_table(values: np.ndarray, steps: np.ndarray, places: int) -> np.ndarray:
    """Return which items an optimum selects."""
    best = np.zeros(places)
    taken = []
    for value, step in zip(values.tolist(), steps.tolist(), strict=True):
        candidate = best[: places - step] + value
        better = candidate > best[step:]
        np.copyto(best[step:], candidate, where=better)
        taken.append(np.packbits(better))
    chosen = np.zeros(steps.size, bool)
    place = places - 1
    for item in range(steps.size - 1, -1, -1):
        step = int(steps[item])
        bit = place - step
        if bit >= 0 and taken[item][bit >> 3] >> (7 - (bit & 7)) & 1:
            chosen[item] = True
            place = bit
    return chosen
