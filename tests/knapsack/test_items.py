from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings

from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError, MissingExtraError
from fabricfit.knapsack import (
    ItemProblem,
    Options,
    implementations,
    register,
    solve_items,
    solve_knapsack,
)
from fabricfit.knapsack.bounds import fractional_bound

from .oracles import best_items, items

try:
    import ortools  # noqa: F401

    ALL = ("CBC_MIP", "branch_bound", "dynamic", "exact", "greedy", "highs")
except ImportError:  # pragma: no cover
    ALL = ("CBC_MIP", "dynamic", "exact", "greedy", "highs")

EXACT = ("CBC_MIP", "dynamic", "exact", "highs")


def applicable(name, weights):
    return name != "dynamic" or (len(weights) == 1 and (weights == np.floor(weights)).all())


@settings(max_examples=120, deadline=None)
@given(items())
def test_every_implementation(problem):
    values, weights, capacity = problem
    best = best_items(*problem)
    assert fractional_bound(*problem) >= best - 1e-9
    for name in ALL:
        if not applicable(name, weights):
            continue
        result = solve_items(*problem, name, time_limit=10)
        chosen = result.selected
        assert chosen == sorted(set(chosen))
        assert (weights[:, chosen].sum(axis=1) <= capacity).all(), name  # dyadic: exact
        assert (result.used == weights[:, chosen].sum(axis=1)).all()
        assert result.value == values[chosen].sum()
        assert set(np.flatnonzero(~weights.any(axis=0) & (values > 0))) <= set(chosen), name
        assert result.value <= best + 1e-9 and best <= result.bound + 1e-9, name
        if name in EXACT or result.status == "optimal":
            assert result.value == pytest.approx(best, rel=1e-9, abs=1e-9), name
        if name == "greedy" and len(weights) == 1:
            assert result.value >= best / 2 - 1e-9


@settings(max_examples=30, deadline=None)
@given(items(whole=True, max_resources=1))
def test_order_does_not_matter(problem):
    values, weights, capacity = problem
    order = np.random.default_rng(0).permutation(values.size)
    for name in EXACT:
        first = solve_knapsack(values, weights, capacity, name)[0]
        second = solve_knapsack(values[order], weights[:, order], capacity, name)[0]
        assert first == pytest.approx(second, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("resources", [1, 2])
@pytest.mark.parametrize("kind", ["few", "many", "float"])
def test_medium_sizes_agree(resources, kind):
    rng = np.random.default_rng(5)
    weights = rng.integers(1, 4 if kind == "few" else 200, (resources, 150)).astype(float)
    if kind == "float":
        weights = rng.random((resources, 150))
    values = rng.random(150)
    capacity = weights.sum(axis=1) * 0.4
    if kind != "float":
        capacity = np.floor(capacity)
    results = {
        name: solve_items(values, weights, capacity, name, time_limit=20)
        for name in ALL
        if name != "branch_bound" and applicable(name, weights)
    }
    best = results["highs"].value
    for name, result in results.items():
        assert (result.used <= capacity).all()
        if name != "greedy":
            assert result.value == pytest.approx(best, rel=1e-9), name
        assert result.bound >= best * (1 - 1e-12)


def test_many_items_of_any_cost_are_solved_exactly():
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 10**6, (1, 50_000)).astype(float)
    values = weights[0] * rng.random(50_000)
    capacity = [float(weights.sum() // 2)]
    ours = solve_items(values, weights, capacity)
    assert ours.status == "optimal"
    assert solve_items(values, weights, capacity, "greedy").bound >= ours.value
    assert solve_items(values, weights, capacity, "highs").value <= ours.value * (1 + 1e-12)


def hard_problem(n=800, resources=1):
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 10**6, (resources, n)).astype(float)
    return weights.mean(axis=0) + 1e5, weights, np.floor(weights.sum(axis=1) / 2)


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("dynamic", "greedy")])
@pytest.mark.parametrize("resources", [1, 3])
def test_the_time_limit_is_kept(name, resources):
    problem = hard_problem(resources=resources)
    start = time.perf_counter()
    result = solve_items(*problem, name, time_limit=0.5)
    assert time.perf_counter() - start < 4
    assert (result.used <= problem[2]).all()
    assert result.value >= solve_items(*problem, "greedy").value
    assert result.bound >= result.value


def test_branch_bound_with_two_resources_finds_something_good():
    if "branch_bound" not in ALL:
        pytest.skip("needs OR-Tools")
    rng = np.random.default_rng(1)
    values, weights = rng.random(3_000), rng.integers(1, 9, (2, 3_000)).astype(float)
    capacity = np.floor(weights.sum(axis=1) / 2)
    best = solve_items(values, weights, capacity)
    found = solve_items(values, weights, capacity, "branch_bound", time_limit=1)
    assert found.value >= 0.9 * best.value


@pytest.mark.parametrize("factor", [None, 1e3, 7.5])
def test_branch_bound_scales_fractions_without_exceeding(factor):
    if "branch_bound" not in ALL:
        pytest.skip("needs OR-Tools")
    rng = np.random.default_rng(2)
    for _ in range(20):
        values, weights = rng.random(10), rng.random((1, 10)) / 3
        capacity = weights.sum(axis=1) / 2
        result = solve_items(values, weights, capacity, "branch_bound", scaling_factor=factor)
        assert result.used[0] <= capacity[0]
        best = best_items(values, weights, capacity)
        slack = 1e-9 if factor is None else 10 / factor
        assert result.value >= min(best - slack, best / 2) - 1e-9


def test_lists_integers_and_whole_floats_are_accepted():
    for name in ALL:
        assert solve_knapsack([10, 7, 6], [[5, 3, 3]], [6], name)[1] in ([1, 2], [0])
    assert solve_knapsack([10, 7, 6], [[5.0, 3.0, 3.0]], [6.0], "dynamic") == (13.0, [1, 2])
    value, chosen = solve_knapsack([10, 7, 6], [[5, 3, 3]], [6])
    assert isinstance(value, float) and all(type(i) is int for i in chosen)


@pytest.mark.parametrize("name", ALL)
def test_edges(name):
    assert solve_knapsack([], [[]], [5], name) == (0.0, [])
    assert solve_knapsack([], [], [5], name) == (0.0, [])
    assert solve_knapsack([3, 4], [[0, 1]], [0], name) == (3.0, [0])
    assert solve_knapsack([3, 4], [[1, 1]], [9], name) == (7.0, [0, 1])
    assert solve_knapsack([5], [[4]], [3], name) == (0.0, [])
    assert solve_knapsack([0, 0], [[1, 1]], [1], name)[0] == 0.0


def test_greedy_goes_on_and_is_no_worse_than_half():
    # The best rate goes first, then a large item that no longer fits, then one that does.
    assert solve_knapsack([6, 9, 2], [[5, 9, 3]], [8], "greedy") == (8.0, [0, 2])
    # By rate alone only the tiny item would be taken.
    assert solve_knapsack([2, 100], [[1, 100]], [100], "greedy") == (100.0, [1])


def test_dynamic_refuses_clearly():
    with pytest.raises(InvalidInputError, match=r"whole weights.*0\.5"):
        solve_knapsack([1, 1], [[0.5, 1]], [1], "dynamic")
    with pytest.raises(InvalidInputError, match="one resource"):
        solve_knapsack([1], [[1], [1]], [1, 1], "dynamic")
    weights = np.arange(1, 2001)[None] * 10**6 + 1
    with pytest.raises(InvalidInputError, match="CBC_MIP"):
        solve_knapsack(np.ones(2000), weights, [10**9], "dynamic")


def test_dynamic_divides_out_a_common_unit():
    weights = np.array([[3, 4, 5]]) * 10**12
    assert solve_knapsack([3, 4, 5.5], weights, [7 * 10**12 + 5], "dynamic") == (7.0, [0, 1])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([np.nan], [[1]], [1]), "values"),
        (([-1], [[1]], [1]), "values"),
        (([1], [[np.inf]], [1]), "weights"),
        (([1], [[-1]], [1]), "weights"),
        (([1], [[1]], [np.inf]), "capacity"),
        (([1], [[1]], [-1]), "capacity"),
        (([1, 2], [[1]], [1]), r"weights must have the shape \(1, 2\)"),
        (([1], [1], [1]), "weights must have the shape"),
        (([1], [[1]], 1), "capacity must have the shape"),
        ((["x"], [[1]], [1]), "real numbers"),
    ],
)
def test_bad_input_is_named(name, arguments, words):
    with pytest.raises(InvalidInputError, match=words):
        solve_knapsack(*arguments, name)


def test_unknown_names_are_refused():
    with pytest.raises(InvalidInputError, match=r"'CBC_MIP'.*Received: implementation='simplex'"):
        solve_knapsack([1], [[1]], [1], "simplex")
    with pytest.raises(InvalidTypeError, match=r"scaling_factor.*Received: 'timelimit'"):
        solve_knapsack([1], [[1]], [1], timelimit=3)
    with pytest.raises(InvalidInputError, match="time_limit"):
        solve_knapsack([1], [[1]], [1], time_limit=-3)
    with pytest.raises(InvalidInputError, match="scaling_factor"):
        solve_knapsack([1], [[1]], [1], scaling_factor="a lot")


def test_a_solver_is_added_by_registering_it(monkeypatch):
    from fabricfit.knapsack import registry

    monkeypatch.setattr(registry, "_SOLVERS", dict(registry._SOLVERS))

    @register("nothing")
    def nothing(problem: ItemProblem, options: Options):
        return problem.result(np.empty(0, int))

    assert "nothing" in implementations()
    assert solve_knapsack([1], [[1]], [1], "nothing") == (0.0, [])
    with pytest.raises(FabricFitError, match="already"):
        register("nothing")(lambda problem, options: problem.result(np.empty(0, int)))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.algorithms.python.knapsack_solver", None)
    with pytest.raises(MissingExtraError, match="ortools"):
        solve_knapsack([1, 2], [[1, 2]], [2], "branch_bound")


def test_no_deep_learning_framework_is_imported():
    code = (
        "import sys, fabricfit.knapsack; "
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch', 'ortools') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
