"""Programs of binary variables for HiGHS, so scaled that it prints nothing.

HiGHS writes a line to standard output, whatever its options, when it repairs a solution of which a row is off
by more than its tolerance of 1e-6. A variable counts as 0 or 1 within the same tolerance, so that rows of
small enough coefficients cannot be off by that much. What is within the tolerance of such rows need not be
within the limits themselves: solutions are rounded and checked, and those that do not fit are excluded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

__all__ = ["BinarySolution", "solve_binary"]

_CUTS = 20
"""Solutions that are within HiGHS' tolerance and do not fit, before the search ends."""

_SUM = 0.9
"""What a row is off by at most, in units of the tolerance."""

_SCALE = 1e4
"""Largest coefficient of the objective: HiGHS' absolute gap is then relative to it."""


@dataclass(frozen=True, eq=False)
class BinarySolution:
    """What a search has found.

    Parameters
    ----------
    chosen
        Which variables are 1; None where no solution was found.
    bound
        No solution has a smaller objective; infinite where it is proven that there is none.
    """

    chosen: np.ndarray | None
    bound: float


def solve_binary(
    objective: np.ndarray,
    rows: np.ndarray,
    most: np.ndarray,
    equations: Any = None,
    values: np.ndarray | None = None,
    *,
    seconds: float,
    within: float | None = None,
    fits: Callable[[np.ndarray], bool] | None = None,
) -> BinarySolution:
    """Minimize an objective of binary variables with HiGHS.

    Parameters
    ----------
    objective
        Shape ``(N,)``.
    rows, most
        Coefficients of at least 0, shape ``(M, N)``, and the limits of their sums, at least 0.
    equations, values
        Coefficients of -1, 0 and 1 and values of sums that must be met, if any.
    seconds
        Time after which the best solution so far is returned.
    within
        Solutions of a larger objective are of no interest.
    fits
        Whether variables that are 1 are within the limits, where floating-point sums are not exact enough.
    """
    deadline = time.monotonic() + seconds
    count = len(most) + (0 if values is None else len(values)) + (within is not None)
    # In a vertex no more variables than rows are between 0 and 1, each off by the tolerance at most.
    scale = _SUM / (count + 1)
    largest = max(float(np.abs(objective).max(initial=0)), 1e-300)
    constraints = []
    if len(most):
        widest = np.maximum(np.abs(rows).max(axis=1), most)
        each = scale / np.where(widest > 0, widest, 1.0)
        constraints.append(LinearConstraint(rows * each[:, None], -np.inf, most * each))
    if equations is not None and values is not None:
        constraints.append(LinearConstraint(equations * scale, values * scale, values * scale))
    if within is not None:
        share = scale / max(largest, abs(within))
        constraints.append(LinearConstraint(objective[None] * share, -np.inf, within * share))
    bound = -np.inf
    for _ in range(_CUTS):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        found = milp(
            objective * (_SCALE / largest),
            constraints=constraints,
            integrality=np.ones(len(objective)),
            bounds=Bounds(0, 1),
            # Presolve changes rows, and how far they may be off.
            options={"time_limit": left, "mip_rel_gap": 0.0, "presolve": False},
        )
        if found.status == _INFEASIBLE:
            return BinarySolution(None, np.inf)
        if found.mip_dual_bound is not None and np.isfinite(found.mip_dual_bound):
            bound = max(bound, float(found.mip_dual_bound) * largest / _SCALE)
        if found.x is None:
            break
        chosen = found.x > 0.5
        if (rows @ chosen <= most).all() if fits is None else fits(chosen):
            return BinarySolution(chosen, bound)
        cut = chosen * scale
        constraints.append(LinearConstraint(cut[None], -np.inf, (chosen.sum() - 1) * scale))
    return BinarySolution(None, bound)


_INFEASIBLE = 2
"""Status of SciPy."""
