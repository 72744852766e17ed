"""The check of knapsack solvers: ours pass it, and what is wrong does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fabricfit.knapsack.registry import find_solver
from fabricfit.testing import check_solver


def is_for_dynamic(problem):
    return len(problem.weights) == 1 and (problem.weights % 1 == 0).all()


@pytest.mark.parametrize("name", ["exact", "CBC_MIP", "highs"])
def test_exact_solvers_pass(name):
    check_solver(name, exact=True)


def test_ours_for_some_problems_pass():
    check_solver("dynamic", exact=True, applies=is_for_dynamic)
    check_solver("greedy")


def test_branch_and_bound_passes():
    pytest.importorskip("ortools")
    check_solver("branch_bound")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda p, r: p.result(np.arange(p.values.size)), "fit into every capacity"),
        (lambda p, r: p.result(np.zeros(0, int), 0.0, optimal=True), "worth more than the bound"),
        (lambda p, r: replace(r, used=r.used + 1), "usage must be"),
        (lambda p, r: replace(r, value=r.value + 1), "value must be"),
    ],
)
def test_what_is_wrong_is_told(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(
            lambda problem, options: wrong(problem, find_solver("exact")(problem, options))
        )


def test_a_solver_that_is_not_exact_is_told_where_it_must_be():
    def lazy(problem, options):
        return problem.result(np.zeros(0, int))

    check_solver(lazy)
    with pytest.raises(AssertionError, match="must be the best"):
        check_solver(lazy, exact=True)


def test_a_solver_for_nothing_is_not_checked():
    with pytest.raises(AssertionError, match="nothing was checked"):
        check_solver("exact", applies=lambda problem: False)
