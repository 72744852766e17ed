"""Which groups to keep: knapsacks, with a proof of how good the choice is.

:func:`solve_grouped` is the solver that fabricfit itself uses: all groups of a layer cost the same,
which makes problems of millions of groups exactly solvable in a fraction of a second.
:func:`solve_knapsack` is for items that each have a cost of their own, and knows the historical
names of implementations.
"""

from fabricfit.knapsack import branch_bound, dynamic, exact, greedy, highs  # noqa: F401 - register
from fabricfit.knapsack.grouped import solve_grouped
from fabricfit.knapsack.items import solve_items, solve_knapsack
from fabricfit.knapsack.problem import FloorError, GroupedProblem, ItemProblem, KnapsackResult
from fabricfit.knapsack.registry import Options, implementations, register

__all__ = [
    "FloorError",
    "GroupedProblem",
    "ItemProblem",
    "KnapsackResult",
    "Options",
    "implementations",
    "register",
    "solve_grouped",
    "solve_items",
    "solve_knapsack",
]
