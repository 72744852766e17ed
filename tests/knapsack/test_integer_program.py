"""Programs of binary variables against exhaustive search; exchanges; nothing on standard output."""

import ctypes
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.knapsack.exchange import Alternatives
from fabricfit.knapsack.integer_program import solve_binary
from fabricfit.knapsack.problem import ItemProblem
from fabricfit.knapsack.registry import Options, find_solver


def search(objective, rows, most):
    """Return the least objective of all selections that fit."""
    selections = np.array(list(itertools.product((0, 1), repeat=len(objective))))
    fits = (selections @ rows.T <= most).all(axis=1)
    return (selections[fits] @ objective).min()


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_solution_is_the_best_and_the_bound_holds(seed):
    rng = np.random.default_rng(seed)
    size, resources = rng.integers(2, 9), rng.integers(1, 4)
    objective = -rng.gamma(1, 1, size)
    rows = rng.integers(0, 2000, (resources, size)).astype(float)
    most = np.floor(rows.sum(axis=1) * rng.uniform(0.2, 0.8, resources))
    found, best = solve_binary(objective, rows, most, seconds=10), search(objective, rows, most)
    assert (rows @ found.chosen <= most).all()
    assert objective[found.chosen].sum() == pytest.approx(best)
    assert found.bound <= best + 1e-9
    worse = solve_binary(objective, rows, most, seconds=10, within=1.1 * best - 0.1)
    assert worse.chosen is None and worse.bound == np.inf


def test_equations_are_met():
    objective, rows = np.array([3.0, 1, 2, 5]), np.array([[1.0, 9, 4, 1]])
    equations = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    found = solve_binary(objective, rows, np.array([9.0]), equations, np.ones(2), seconds=10)
    assert np.flatnonzero(found.chosen).tolist() == [0, 2]


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_no_exchange_of_two_makes_what_is_found_better(seed):
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(4), rng.integers(1, 5, 4))
    loss, costs = rng.gamma(1, 1, len(block)), rng.integers(0, 9, (len(block), 2)).astype(float)
    made = Alternatives(block, loss, costs, np.array([16.0, 20.0]))
    start = np.array([np.flatnonzero(block == each)[0] for each in range(4)])
    found = made.search(start, kicks=2)
    if found is None:
        return
    assert made.fits(found) and block[found].tolist() == [0, 1, 2, 3]
    for pair in itertools.product(range(len(block)), repeat=2):
        other = found.copy()
        other[block[list(pair)]] = pair
        assert not made.fits(other) or loss[other].sum() >= loss[found].sum() - 1e-9


def draw_problem(seed):
    """Return a problem of which HiGHS prints to standard output, left to itself (SciPy 1.17)."""
    rng = np.random.default_rng(seed)
    size, resources = int(rng.integers(30, 120)), int(rng.integers(2, 5))
    weights = rng.uniform(1, 4000, (resources, size))
    return ItemProblem(rng.gamma(2, 1, size), weights, weights.sum(axis=1) * rng.uniform(0.2, 0.6))


@pytest.mark.parametrize("seed", [4, 6])
def test_the_solver_prints_nothing(seed, capfd):
    result = find_solver("highs")(draw_problem(seed), Options(time_limit=20.0))
    ctypes.CDLL(None).fflush(None)  # what C++ wrote and holds back
    assert capfd.readouterr() == ("", "")
    assert result.status == "optimal"
