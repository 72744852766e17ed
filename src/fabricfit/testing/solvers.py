"""What a knapsack solver must keep to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fabricfit.knapsack import ItemProblem, KnapsackResult, Options
from fabricfit.knapsack.registry import Solver, find_solver

__all__ = ["check_solver"]

_MOST_ITEMS = 9
_ROUNDING = 1e-9


def check_solver(
    solver: str | Solver,
    *,
    exact: bool = False,
    applies: Callable[[ItemProblem], bool] = lambda problem: True,
    problems: int = 60,
    seed: int = 0,
) -> None:
    """Check a solver against all selections of small random problems.

    What it selects fits into every capacity, its value and usage are those of the items, its bound holds, and
    it is the best selection where the solver says so. The edges are among the problems: no items, items that
    cost nothing, no capacity.

    Parameters
    ----------
    solver
        The solver, or its name once registered with :func:`fabricfit.knapsack.register`.
    exact
        Whether every selection must be the best one.
    applies
        Whether the solver is meant for a problem: others are left out.
    problems
        Number of random problems.
    seed
        Of the random numbers.

    Raises
    ------
    AssertionError
        It does not; the message shows the problem.
    """
    function = find_solver(solver) if isinstance(solver, str) else solver
    rng = np.random.default_rng(seed)
    tried = 0
    for problem in (*_list_edges(), *(_draw_problem(rng) for _ in range(problems))):
        if applies(problem):
            _check_result(problem, function(problem, Options(time_limit=10.0)), exact)
            tried += 1
    assert tried, "the solver applies to none of the problems: nothing was checked."


def _list_edges() -> tuple[ItemProblem, ...]:
    none, three = np.zeros(0), np.array([3.0, 2.0, 1.0])
    return (
        ItemProblem(none, np.zeros((1, 0)), np.ones(1)),
        ItemProblem(three, np.zeros((1, 3)), np.zeros(1)),
        ItemProblem(three, np.ones((1, 3)), np.zeros(1)),
        ItemProblem(three, np.ones((1, 3)), np.array([3.0])),
        ItemProblem(np.zeros(3), np.ones((1, 3)), np.array([2.0])),
    )


def _draw_problem(rng: np.random.Generator) -> ItemProblem:
    """Draw a problem of dyadic numbers, so that sums are exact."""
    items, resources = int(rng.integers(1, _MOST_ITEMS + 1)), int(rng.integers(1, 4))
    step = 1.0 if rng.random() < 0.5 else 0.125
    weights = rng.integers(0, 10, (resources, items)) * step
    capacity = np.floor(weights.sum(axis=1) * rng.random(resources))
    return ItemProblem(rng.integers(0, 40, items) / 4, weights, capacity)


def _check_result(problem: ItemProblem, result: KnapsackResult, exact: bool) -> None:
    shown = f"Received for {problem}: {result}"
    assert result.choice[0].shape == problem.values.shape, (
        f"a choice must say of every item whether it is selected. {shown}"
    )
    selected = result.selected
    used = problem.weights[:, selected].sum(axis=1)
    value = problem.values[selected].sum()
    assert (used <= problem.capacity).all(), f"a selection must fit into every capacity. {shown}"
    assert np.allclose(result.used, used, rtol=_ROUNDING), f"usage must be the items' sum. {shown}"
    assert np.isclose(result.value, value, rtol=_ROUNDING), f"value must be the items' sum. {shown}"
    best = _best_value(problem)
    assert result.bound >= best - _ROUNDING * (1 + best), (
        f"no selection is worth more than the bound, yet one is worth {best}. {shown}"
    )
    if exact or result.status == "optimal":
        assert value >= best - _ROUNDING * (1 + best), (
            f"the selection must be the best, which is worth {best}. {shown}"
        )


def _best_value(problem: ItemProblem) -> float:
    """Return the value of the best of all selections."""
    count = problem.values.size
    subsets = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
    fits = (subsets @ problem.weights.T <= problem.capacity).all(axis=1)
    return float((subsets @ problem.values)[fits].max())
