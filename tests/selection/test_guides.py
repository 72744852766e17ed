"""Limits that are moved until what is really used keeps those that are meant."""

import numpy as np
import pytest

from fabricfit.selection.guides import MovingLimits


def settle(allowed, law, least=(0.0,), rounds=20):
    """Follow limits whose choices use them up, by the costs that guide; return what is really used."""
    allowed, least = np.array(allowed, float), np.array(least)
    limits, used = MovingLimits(allowed, allowed.copy()), []
    for _ in range(rounds):
        guided = np.maximum(limits.amounts, least)
        used.append(law(guided))
        if not limits.move(guided, allowed - used[-1], least):
            break
    return np.array(used)


@pytest.mark.parametrize("factor", [0.6, 0.95, 1.3])
def test_a_law_that_differs_by_a_factor_is_met_and_used_up(factor):
    used = settle([1000.0], lambda guided: factor * guided)
    assert 994 <= used[-1] <= 1000
    assert len(used) <= 10


@pytest.mark.parametrize("place", [700, 850, 990])
def test_limits_come_near_a_jump_instead_of_swinging_over_it(place):
    used = settle([1000.0], lambda guided: guided + 250 * (guided > place))
    inside = used[used <= 1000]
    assert inside.max() >= min(place, 1000) - 10


def test_limits_that_are_kept_and_used_up_stay():
    assert len(settle([100.0, 50.0], lambda guided: guided, (0.0, 0.0))) == 1


def test_others_go_down_where_a_resource_is_used_too_much_at_its_least():
    """The second resource is used by what the first pays for, though its own costs do not say so."""
    used = settle(
        [100.0, 10.0], lambda guided: np.array([guided[0], 5 + guided[0] / 4]), (0.0, 5.0)
    )
    assert (used <= [100, 10]).all(axis=1).any()
