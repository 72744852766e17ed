"""The choice of options against exhaustive search."""

import ctypes
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.design.choice import choose_options, least_costs
from fabricfit.design.layered_options import LayeredOptions, worthwhile
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


def choose(losses, costs, limits, kinds=None, together=(), **options):
    return choose_options(LayeredOptions.of(losses, costs, kinds, together), limits, **options)


def search(losses, costs, limits, kinds=None, together=()):
    """Return the least loss of all choices within the limits, by brute force."""
    best = None
    for places in itertools.product(*(range(len(loss)) for loss in losses)):
        if any(len({kinds[layer][places[layer]] for layer in own}) > 1 for own in together):
            continue
        used = sum(cost[place] for cost, place in zip(costs, places, strict=True))
        if (used <= limits).all():
            loss = sum(each[place] for each, place in zip(losses, places, strict=True))
            best = loss if best is None else min(best, loss)
    return best


@pytest.mark.parametrize("block", range(8))
def test_the_choice_is_the_best_of_all(block):
    for seed in range(25 * block, 25 * block + 25):
        losses, costs, limits = draw_case(seed)
        found, best = choose(losses, costs, limits), search(losses, costs, limits)
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


@pytest.mark.parametrize("block", range(4))
def test_layers_that_go_together_are_of_one_kind(block):
    for seed in range(20 * block, 20 * block + 20):
        losses, costs, limits = draw_case(seed)
        rng = np.random.default_rng(seed)
        kinds = [rng.integers(0, 3, len(loss)) for loss in losses]
        order, cut = rng.permutation(len(losses)), rng.integers(0, len(losses) + 1)
        together = [own.tolist() for own in (order[:cut], order[cut:]) if len(own)]
        found = choose(losses, costs, limits, kinds, together)
        best = search(losses, costs, limits, kinds, together)
        assert (found is None) == (best is None), seed
        if found is not None:
            assert found.loss == pytest.approx(best, abs=1e-9), seed
            assert found.gap < 1e-9
            for own in together:
                assert len({kinds[layer][found.places[layer]] for layer in own}) == 1


LOUD = (
    [
        ([0.448, 0.693, 0.993], [[0, 3050, 3150], [0, 1900, 2790], [0, 1050, 2500]]),
        ([0.308, 0.314, 0.314], [[0, 3550, 4000], [0, 2630, 1340], [0, 2300, 2880]]),
        (
            [0.0863, 0.139, 0.139, 0.223],
            [[0, 2760, 2180], [0, 1920, 1160], [0, 1640, 1820], [0, 877, 1570]],
        ),
        (
            [0.0295, 0.0314, 0.0595, 0.0611, 0.0657, 0.148, 0.148, 0.218, 0.235],
            [
                *([21, 890, 1300], [0, 951, 1070], [14, 621, 1060], [0, 682, 917], [0, 493, 619]),
                *([0, 226, 237], [0, 175, 317], [7, 146, 641], [0, 69.8, 284]),
            ],
        ),
    ],
    [26.4, 6384, 12768],
)
"""Layers and limits at which HiGHS prints to standard output where it presolves (SciPy 1.17)."""


def test_nothing_is_printed(capfd):
    layers, limits = LOUD
    losses, costs = ([np.array(each, float) for each in part] for part in zip(*layers, strict=True))
    found = choose(losses, costs, np.array(limits, float))
    ctypes.CDLL(None).fflush(None)  # what C++ wrote and holds back
    assert capfd.readouterr() == ("", "")
    assert found.loss == pytest.approx(search(losses, costs, np.array(limits)))


def test_many_layers_take_seconds_at_most():
    rng = np.random.default_rng(3)
    losses = [np.sort(rng.gamma(1, 1, 20)) for _ in range(30)]
    costs = [np.sort(rng.gamma(2, 100, (20, 3)), axis=0)[::-1] for _ in range(30)]
    found = choose(losses, costs, np.full(3, 30 * 150.0), seconds=20)
    assert found is not None and found.gap == 0


def test_of_equal_losses_the_cheaper_is_chosen():
    losses = [np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0])]
    costs = [np.array([[9.0, 1], [3, 3], [1, 9]]), np.array([[5.0, 5], [4, 4]])]
    found = choose(losses, costs, np.array([20.0, 10.0]))
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
        choose(losses, costs, np.ones(1))
