"""Bounds of choices with each option, and gaps, against exhaustive search."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.design import choice
from fabricfit.design.choice import choose_options
from fabricfit.design.choice_bounds import PricedOptions
from fabricfit.design.layered_options import LayeredOptions


def draw(seed, layers=3, options=5):
    rng = np.random.default_rng(seed)
    losses = [rng.gamma(1, 1, options) for _ in range(layers)]
    whole = rng.random() < 0.5
    costs = [
        rng.integers(0, 20, (options, 2)) + (0 if whole else rng.random((options, 2)))
        for _ in losses
    ]
    return losses, [each.astype(float) for each in costs], rng.uniform(5, 40, 2), rng


def list_choices(losses, costs, limits):
    """Yield the options and the loss of each choice that is within the limits."""
    for places in itertools.product(*(range(len(each)) for each in losses)):
        if (sum(cost[place] for cost, place in zip(costs, places, strict=True)) <= limits).all():
            yield places, sum(loss[place] for loss, place in zip(losses, places, strict=True))


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_no_choice_with_an_option_loses_less_than_its_bound(seed):
    losses, costs, limits, rng = draw(seed)
    layer = np.repeat(np.arange(3), 5)
    prices = rng.gamma(1, 0.1, 2)
    priced = PricedOptions(layer, np.concatenate(losses), np.concatenate(costs), limits, prices)
    bounds = [priced.bound(), priced.bound_by_limit(0), priced.bound_by_limit(1)]
    for places, loss in list_choices(losses, costs, limits):
        for bound in bounds:
            assert (bound[np.array(places) + 5 * np.arange(3)] <= loss + 1e-9).all()


@given(st.integers(0, 10**6), st.sampled_from([(0.2, 0.0), (0.0, 0.5), (0.05, 0.02)]))
@settings(max_examples=60, deadline=None)
def test_the_gap_is_a_bound(seed, asked):
    losses, costs, limits, _ = draw(seed, 4, 4)
    gap, resolution = asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "_FEW", 0)  # else such small choices are the best ones
        found = choose_options(
            LayeredOptions.of(losses, costs), limits, gap=gap, resolution=resolution
        )
    best = min((loss for _, loss in list_choices(losses, costs, limits)), default=None)
    assert (found is None) == (best is None)
    if found is not None:
        assert found.bound <= best + 1e-9 and best <= found.loss + 1e-9
        assert found.loss - best <= max(gap * best, resolution) + 1e-9
        assert found.gap <= gap + 1e-9


def test_differences_within_the_resolution_are_no_gap():
    assert choice.Choice((0,), 1.2, 1.0, 0.3).gap == 0
    assert choice.Choice((0,), 1.2, 1.0, 0.1).gap == pytest.approx(0.2)
