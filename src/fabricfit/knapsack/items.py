"""The knapsack of single items, solved by a solver of one's choice."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fabricfit.knapsack.problem import ItemProblem, KnapsackResult
from fabricfit.knapsack.registry import Options, find_solver

__all__ = ["solve_items", "solve_knapsack"]


def solve_knapsack(
    values: ArrayLike,
    weights: ArrayLike,
    capacity: ArrayLike,
    implementation: str = "CBC_MIP",
    **kwargs: Any,
) -> tuple[float, list[int]]:
    """Select items of the greatest total value that fit into every capacity.

    Parameters
    ----------
    values
        What each item is worth, shape ``(N,)``. Not negative.
    weights
        What each item costs of each resource, shape ``(M, N)``. Not negative, whole numbers or not.
    capacity
        The limit of each resource, shape ``(M,)``.
    implementation
        - ``'CBC_MIP'`` and ``'exact'``: the best exact way that is known for the problem. With few
          different costs that is the solver of :func:`~fabricfit.knapsack.solve_grouped`, else
          HiGHS.
        - ``'highs'``: HiGHS in any case.
        - ``'branch_bound'``: branch and bound of OR-Tools (the extra ``ortools``).
        - ``'dynamic'``: dynamic programming, exact, for one resource and whole weights.
        - ``'greedy'``: by value for weight; fast, and with one resource at least half of an
        optimum.
    **kwargs
        ``time_limit`` in seconds (30 by default), after which the best selection so far is
        returned, and ``scaling_factor``, what ``'branch_bound'`` multiplies values with to make
        them integers.

    Returns
    -------
    optimal_value
        The sum of the values of the selected items.
    selected_items
        Their indices, ascending.

    Raises
    ------
    InvalidInputError
        A shape is wrong, a number is negative or not finite, the name is unknown, or the
        implementation cannot solve problems of this kind or size.
    InvalidTypeError
        A keyword is none of the known ones.
    MissingExtraError
        ``'branch_bound'`` without OR-Tools.

    Examples
    --------
    >>> solve_knapsack([10, 7, 6], [[5, 3, 3]], [6])
    (13.0, [1, 2])
    """
    result = solve_items(values, weights, capacity, implementation, **kwargs)
    return result.value, result.selected


def solve_items(
    values: ArrayLike,
    weights: ArrayLike,
    capacity: ArrayLike,
    implementation: str = "CBC_MIP",
    **kwargs: Any,
) -> KnapsackResult:
    """Do what :func:`solve_knapsack` does, and tell how good the selection is.

    Parameters
    ----------
    values, weights, capacity, implementation, **kwargs
        As of :func:`solve_knapsack`.

    Returns
    -------
    KnapsackResult
        With the items as its only layer.
    """
    options = Options.of(kwargs)
    solver = find_solver(implementation)
    return solver(ItemProblem(values, weights, capacity), options)  # type: ignore[arg-type]
