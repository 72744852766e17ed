from __future__ import annotations

import pickle
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.knapsack import FloorError, GroupedProblem, solve_grouped

from .oracles import best_by_milp, best_grouped, grouped


def check(result, values, costs, capacity, floors=None):
    """Assert that a result is what it says of itself."""
    assert [mask.shape for mask in result.choice] == [v.shape for v in values]
    assert all(mask.dtype == bool for mask in result.choice)
    assert result.counts.tolist() == [int(mask.sum()) for mask in result.choice]
    kept = [v[mask] for v, mask in zip(values, result.choice, strict=True)]
    assert result.value == pytest.approx(sum(float(k.sum()) for k in kept), rel=1e-12)
    for resource in range(len(capacity)):
        use = sum(
            (
                Fraction(float(c)) * int(k)
                for c, k in zip(costs[:, resource], result.counts, strict=True)
            ),
            Fraction(0),
        )
        assert float(use) == result.used[resource] <= capacity[resource]
    for value, mask in zip(values, result.choice, strict=True):
        if mask.any() and not mask.all():
            assert value[mask].min() >= value[~mask].max()
    if floors is not None:
        assert (result.counts >= floors).all()
    assert result.gap == result.bound - result.value >= 0
    assert (result.status == "optimal") == (result.gap == 0)


@settings(max_examples=250, deadline=None)
@given(grouped())
def test_is_an_optimum(problem):
    values, costs, capacity, floors = problem
    best = best_grouped(*problem)
    if best is None:
        with pytest.raises(FloorError):
            solve_grouped(GroupedProblem(*problem))
        return
    result = solve_grouped(GroupedProblem(*problem))
    check(result, values, costs, capacity, floors)
    assert result.status == "optimal"
    assert result.value == pytest.approx(best, rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(grouped(), st.data())
def test_ceilings(problem, data):
    values, costs, capacity, floors = problem
    ceilings = np.array(
        [data.draw(st.integers(int(f), v.size)) for f, v in zip(floors, values, strict=True)]
    )
    best = best_grouped(*problem, ceilings)
    if best is None:
        return
    result = solve_grouped(GroupedProblem(*problem, ceilings))
    check(result, values, costs, capacity, floors)
    assert (result.counts <= ceilings).all()
    assert result.value == pytest.approx(best, rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(grouped(), st.sampled_from([{"state_limit": 1}, {"time_limit": 1e-9}]))
def test_a_cut_search_has_a_true_bound(problem, limit):
    values, costs, capacity, floors = problem
    best = best_grouped(*problem)
    if best is None:
        return
    result = solve_grouped(GroupedProblem(*problem), **limit)
    check(result, values, costs, capacity, floors)
    assert result.value - 1e-9 <= best <= result.bound + 1e-9


@settings(max_examples=40, deadline=None)
@given(grouped(), st.randoms(use_true_random=False))
def test_order_does_not_matter(problem, random):
    values, costs, capacity, floors = problem
    if best_grouped(*problem) is None:
        return
    order = list(range(len(values)))
    random.shuffle(order)
    turned = GroupedProblem(
        [np.sort(values[i]) for i in order], costs[order], capacity, floors[order]
    )
    first, second = solve_grouped(GroupedProblem(*problem)), solve_grouped(turned)
    assert first.value == pytest.approx(second.value, rel=1e-12, abs=1e-12)


def random_problem(seed, layers, items, resources, cost="int", share=0.5):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(items // layers) ** 2 for _ in range(layers)]
    costs = rng.integers(1, 65, (layers, resources)).astype(float)
    if cost == "float":
        costs = rng.uniform(1, 64, (layers, resources))
    if cost == "ties":
        values = [np.round(4 * v) for v in values]
    capacity = np.floor(share * (np.full(layers, items // layers) @ costs))
    return values, costs, capacity


@pytest.mark.parametrize("resources", [1, 2, 3])
@pytest.mark.parametrize("kind", ["int", "float", "ties"])
def test_agrees_with_highs(resources, kind):
    values, costs, capacity = random_problem(3, 4, 80, resources, kind)
    result = solve_grouped(GroupedProblem(values, costs, capacity))
    check(result, values, costs, capacity)
    assert result.status == "optimal"
    assert result.value == pytest.approx(best_by_milp(values, costs, capacity), rel=1e-9)


@pytest.mark.parametrize("kind", ["int", "ties"])
@pytest.mark.parametrize("resources", [1, 2])
def test_large_and_sampled(resources, kind):
    values, costs, capacity = random_problem(1, 8, 400_000, resources, kind, 0.3)
    result = solve_grouped(GroupedProblem(values, costs, capacity))
    check(result, values, costs, capacity)
    assert result.status == "optimal"


def test_five_million_items():
    values, costs, capacity = random_problem(0, 10, 5_000_000, 1)
    result = solve_grouped(GroupedProblem(values, costs, capacity))
    assert result.status == "optimal"
    assert result.used[0] <= capacity[0]
    # The break prices of all layers agree: no swap across a layer's break gains.
    rates = [
        (v[m].min() / c, v[~m].max() / c)
        for v, m, c in zip(values, result.choice, costs[:, 0], strict=True)
    ]
    assert min(kept for kept, _ in rates) >= max(left for _, left in rates) * (1 - 1e-3)


def test_many_layers_of_many_costs():
    values, costs, capacity = random_problem(2, 200, 20_000, 1, "float")
    result = solve_grouped(GroupedProblem(values, costs, capacity))
    check(result, values, costs, capacity)
    assert result.status == "optimal"


@pytest.mark.parametrize("limit", [{"state_limit": 50}, {"time_limit": 0.2}])
def test_a_hard_problem_ends_with_a_proven_gap(limit):
    values, costs, capacity = random_problem(2, 150, 3_000, 3)
    start = time.perf_counter()
    result = solve_grouped(GroupedProblem(values, costs, capacity), **limit)
    assert time.perf_counter() - start < 10
    check(result, values, costs, capacity)
    assert result.status == "feasible"
    assert 0 < result.gap < 0.01 * result.value


def test_ties_are_broken_by_position_always_alike():
    values = [np.ones(50), np.ones(30)]
    problem = GroupedProblem(values, np.array([[2.0], [2.0]]), np.array([60.0]))
    result = solve_grouped(problem)
    assert result.value == 30
    for mask in result.choice:
        kept = np.flatnonzero(mask)
        assert kept.tolist() == list(range(kept.size))
    again = solve_grouped(problem)
    assert all((a == b).all() for a, b in zip(result.choice, again.choice, strict=True))


def test_long_plateaus():
    values = [np.full(100_000, 3.0), np.full(50_000, 2.0), np.full(70_000, 5.0)]
    costs = np.array([[7.0, 2.0], [5.0, 1.0], [11.0, 3.0]])
    for capacity in ([500_001.0, 1e9], [900_000.0, 260_003.0]):
        result = solve_grouped(GroupedProblem(values, costs, np.array(capacity)), time_limit=5)
        check(result, values, costs, capacity)
        assert result.gap <= 1e-5 * result.value


def test_nothing_of_value_is_kept_while_it_fits():
    values = [np.zeros(4), np.array([1.0, 0.0, 0.0])]
    result = solve_grouped(GroupedProblem(values, np.array([[1.0], [2.0]]), np.array([6.0])))
    assert result.value == 1.0
    assert result.capacity[0] - result.used[0] < 1


def test_free_items_are_kept_and_nothing_else_at_capacity_zero():
    values = [np.array([1.0, 2.0]), np.array([0.0, 5.0, 1.0])]
    result = solve_grouped(GroupedProblem(values, np.array([[1.0, 0.0], [0.0, 0.0]]), np.zeros(2)))
    assert result.counts.tolist() == [0, 3]
    assert (result.value, result.status) == (6.0, "optimal")


@pytest.mark.parametrize("capacity", [30.0, 31.5, 1e9, np.inf])
def test_all_is_kept_where_all_fits(capacity):
    problem = GroupedProblem(
        [np.zeros(5), np.ones(5)], np.array([[2.0], [4.0]]), np.array([capacity])
    )
    result = solve_grouped(problem)
    assert result.counts.tolist() == [5, 5]
    assert result.gap == 0


def test_no_layers_and_empty_layers():
    assert solve_grouped(GroupedProblem([], np.empty(0), np.ones(2))).value == 0
    result = solve_grouped(GroupedProblem([np.empty(0), np.ones(2)], np.ones((2, 1)), np.ones(1)))
    assert result.counts.tolist() == [0, 1]


def test_one_layer_counts_exactly():
    values = [np.arange(20.0)]
    tenth = solve_grouped(GroupedProblem(values, np.array([[0.1]]), np.array([1.0])))
    assert tenth.used[0] <= 1.0
    assert tenth.counts[0] == 10  # 10 x 0.1 in floats is a little more than 1, rounded once it is 1
    whole = solve_grouped(GroupedProblem(values, np.array([[3.0]]), np.array([26.9])))
    assert whole.counts[0] == 8


def test_large_whole_costs_are_summed_exactly():
    costs = np.array([[2.0**40 + 1], [2.0**40 - 1]])
    values = [np.array([3.0, 2.0]), np.array([3.0, 2.0])]
    fits = solve_grouped(GroupedProblem(values, costs, np.array([2.0**41])))
    assert fits.counts.tolist() == [1, 1]
    short = solve_grouped(GroupedProblem(values, costs, np.array([2.0**41 - 1])))
    assert short.counts.tolist() == [0, 2]


def test_floors_that_do_not_fit_say_where():
    problem = GroupedProblem(
        [np.ones(3)], np.array([[1.0, 5.0]]), np.array([9.0, 8.0]), np.array([2])
    )
    with pytest.raises(InfeasibleError, match="resource 1") as caught:
        solve_grouped(problem)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert (error.resource, error.needed, error.available) == (1, 10.0, 8.0)


def test_numbers_of_extreme_size():
    values = [np.array([1e-300, 1e-290]), np.array([1e200, 1e190]), np.array([1.0])]
    costs = np.array([[1e-300], [1e10], [1.0]])
    result = solve_grouped(GroupedProblem(values, costs, np.array([1e10])))
    check(result, values, costs, [1e10])
    assert result.counts[1] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": [np.array([np.nan])]}, r"values\[0\]"),
        ({"values": [np.array([-1.0])]}, r"values\[0\]"),
        ({"values": [np.ones((1, 1))]}, "shape"),
        ({"values": [["a"]]}, "real numbers"),
        ({"costs": np.ones((2, 1))}, r"costs must have the shape \(1, 1\)"),
        ({"costs": np.array([[np.inf]])}, "costs"),
        ({"capacity": np.array([-1.0])}, "capacity"),
        ({"capacity": np.array([np.nan])}, "capacity"),
        ({"floors": np.array([2])}, r"floors\[0\]=2"),
        ({"floors": np.array([0.5])}, "whole"),
        ({"floors": np.array([1]), "ceilings": np.array([0])}, "ceilings"),
    ],
)
def test_bad_input_is_named(change, words):
    good = {"values": [np.ones(1)], "costs": np.ones((1, 1)), "capacity": np.ones(1)}
    with pytest.raises(InvalidInputError, match=words):
        GroupedProblem(**{**good, **change})


@pytest.mark.parametrize("limit", [{"time_limit": 0}, {"state_limit": -1}, {"time_limit": np.nan}])
def test_limits_must_be_positive(limit):
    problem = GroupedProblem([np.ones(1)], np.ones((1, 1)), np.ones(1))
    with pytest.raises(InvalidInputError, match=r"must be a (whole )?number"):
        solve_grouped(problem, **limit)
