"""The choice of options against exhaustive search."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.design.choice import choose_options, least_costs, worthwhile
from fabricfit.errors import InvalidInputError


def draw_case(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 7, rng.integers(1, 5))
    resources = int(rng.integers(1, 4))
    losses = [np.round(rng.gamma(1, 1, n), 3) for n in counts]
    costs = [rng.integers(0, 30, (n, resources)).astype(float) for n in counts]
    limits = rng.integers(0, 25, resources) * len(counts) / 1.5
    limits = np.where(rng.random(resources) < 0.15, np.inf, limits)
    return losses, costs, limits


def search(losses, costs, limits):
    """Return the least loss of all choices within the limits, by brute force."""
    best = None
    for places in itertools.product(*(range(len(loss)) for loss in losses)):
        used = sum(cost[place] for cost, place in zip(costs, places, strict=True))
        if (used <= limits).all():
            loss = sum(each[place] for each, place in zip(losses, places, strict=True))
            best = loss if best is None else min(best, loss)
    return best


@pytest.mark.parametrize("block", range(8))
def test_the_choice_is_the_best_of_all(block):
    for seed in range(25 * block, 25 * block + 25):
        losses, costs, limits = draw_case(seed)
        found, best = choose_options(losses, costs, limits), search(losses, costs, limits)
        assert (found is None) == (best is None), seed
        if found is None:
            continue
        assert found.loss == pytest.approx(best, abs=1e-9), seed
        assert found.gap < 1e-9
        used = sum(cost[place] for cost, place in zip(costs, found.places, strict=True))
        assert (used <= limits).all()
        assert found.loss == pytest.approx(
            sum(each[place] for each, place in zip(losses, found.places, strict=True))
        )


def test_of_equal_losses_the_cheaper_is_chosen():
    losses = [np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0])]
    costs = [np.array([[9.0, 1], [3, 3], [1, 9]]), np.array([[5.0, 5], [4, 4]])]
    found = choose_options(losses, costs, np.array([20.0, 10.0]))
    assert found.places == (1, 1)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_only_dominated_options_are_left_out(seed):
    losses, costs, _ = draw_case(seed)
    for loss, cost in zip(losses, costs, strict=True):
        kept = worthwhile(loss, cost)
        for place in range(len(loss)):
            better = (loss[kept] <= loss[place]) & (cost[kept] <= cost[place]).all(axis=1)
            assert better.any()
        assert len({(loss[k], *cost[k]) for k in kept}) == len(kept)


def test_least_costs_are_those_of_each_by_itself():
    costs = [np.array([[1.0, 9], [9, 1]]), np.array([[2.0, 2]])]
    assert least_costs(costs).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("losses", "costs"),
    [([], []), ([np.ones(2)], [np.ones((3, 1))]), ([np.ones(0)], [np.ones((0, 1))])],
)
def test_numbers_must_match(losses, costs):
    with pytest.raises(InvalidInputError):
        choose_options(losses, costs, np.ones(1))
