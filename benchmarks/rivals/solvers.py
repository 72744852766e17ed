"""Knapsack solvers of other packages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.task import NoNumberError

__all__ = ["SOLVERS", "Solver"]

Solver = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
"""From values ``(N,)``, costs ``(M, N)``, capacity ``(M,)`` and seconds to what is kept ``(N,)``."""

_SCALE = 1e5


def ortools_cbc() -> Solver:
    """Return CBC as OR-Tools' knapsack solver calls it, with values as whole numbers."""
    from ortools.algorithms.python import knapsack_solver

    kind = knapsack_solver.SolverType.KNAPSACK_MULTIDIMENSION_CBC_MIP_SOLVER

    def solve(
        values: np.ndarray, costs: np.ndarray, capacity: np.ndarray, limit: float
    ) -> np.ndarray:
        solver = knapsack_solver.KnapsackSolver(kind, "benchmark")
        solver.set_time_limit(limit)
        scaled = (values * _SCALE).astype(np.int64).tolist()
        solver.init(scaled, costs.astype(np.int64).tolist(), capacity.astype(np.int64).tolist())
        solver.solve()
        return np.array([solver.best_solution_contains(i) for i in range(len(values))])

    return solve


def scipy_highs(**own: Any) -> Solver:
    """Return HiGHS as SciPy's ``milp`` calls it, with options of its own."""
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    def solve(
        values: np.ndarray, costs: np.ndarray, capacity: np.ndarray, limit: float
    ) -> np.ndarray:
        found = milp(
            -values,
            integrality=np.ones(len(values)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(sparse.csr_array(costs), ub=capacity),
            options={"time_limit": limit, **own},
        )
        if found.status != 0:
            raise NoNumberError(f"none in {limit:g} s")
        return found.x > 0.5

    return solve


def pulp_cbc() -> Solver:
    """Return CBC as PuLP calls it."""
    try:
        import pulp
    except ImportError:
        raise NoNumberError("not installed") from None

    def solve(
        values: np.ndarray, costs: np.ndarray, capacity: np.ndarray, limit: float
    ) -> np.ndarray:
        problem: Any = pulp.LpProblem("knapsack", pulp.LpMaximize)
        kept = [pulp.LpVariable(f"x{i}", cat="Binary") for i in range(len(values))]
        problem += pulp.lpDot(values.tolist(), kept)
        for row, limit in zip(costs.tolist(), capacity.tolist(), strict=True):
            problem += pulp.lpDot(row, kept) <= limit
        problem.solve(pulp.PULP_CBC_CMD(msg=False, timeLimit=limit))
        if problem.sol_status != pulp.LpSolutionOptimal:
            raise NoNumberError(f"none in {limit:g} s")
        return np.array([variable.value() > 0.5 for variable in kept])

    return solve


SOLVERS: dict[str, Callable[[], Solver]] = {
    "OR-Tools CBC": ortools_cbc,
    "HiGHS": scipy_highs,
    "HiGHS, no presolve": partial(scipy_highs, presolve=False, mip_rel_gap=0.0),
    "PuLP CBC": pulp_cbc,
}
"""Name -> what imports a solver and returns it."""
