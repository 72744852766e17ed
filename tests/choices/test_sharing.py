"""Sharing along sorted weights, against a search of every way to cut them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.choices.sharing import Runs, cheapest_runs

numbers = st.floats(-4, 4, allow_nan=False)


@st.composite
def problems(draw):
    count = draw(st.integers(1, 6))
    listed = st.lists(numbers, min_size=count, max_size=count)
    positive = st.lists(st.floats(0, 3), min_size=count, max_size=count)
    return (
        np.sort(np.array([draw(listed), draw(listed)]), axis=1),
        np.array([draw(positive), draw(positive)]),
        draw(st.sampled_from([1, 2])),
        np.array([draw(positive), draw(positive)]),
        draw(st.floats(0, 2)),
        draw(st.floats(0, 1)),
    )


def run_loss(values, importance, power):
    """Loss of one value for all, found by trying every weight and the mean."""
    count = len(values)
    if count == 1:
        return 0.0
    mass = importance.sum()
    centers = [*values, (importance * values).sum() / mass if mass else 0.0]
    spread = min((importance * np.abs(values - c) ** power).sum() for c in centers)
    return spread * count / (count - 1)


def best_of_all(values, importance, power, alone, per_run, per_member):
    def rest(start):
        if start == len(values):
            return 0.0
        costs = [alone[start] + rest(start + 1)]
        for stop in range(start + 1, len(values) + 1):
            loss = run_loss(values[start:stop], importance[start:stop], power)
            costs.append(loss + per_run + per_member * (stop - start) + rest(stop))
        return min(costs)

    return rest(0)


def price_of(cut, values, importance, power, alone, per_run, per_member):
    """What a cut of one input's weights loses and is paid for, run by run."""
    total = 0.0
    for start in set(cut.tolist()):
        members = np.flatnonzero(cut == start)
        if start < 0:
            total += alone[members].sum()
            continue
        assert members[0] == start
        assert (np.diff(members) == 1).all()
        loss = run_loss(values[members], importance[members], power)
        total += loss + per_run + per_member * len(members)
    return total


def runs_of(values, importance, power):
    """Runs of weights that are given input by input."""
    return Runs(values.T.copy(), importance.T.copy(), power)


def cut(values, importance, power, alone, per_run, per_member):
    return cheapest_runs(runs_of(values, importance, power), alone.T, per_run, per_member).T


@given(problems())
def test_no_other_way_to_cut_is_cheaper(problem):
    values, importance, power, alone, *prices = problem
    found = cut(values, importance, power, alone, *prices)
    for row in range(len(values)):
        weights = values[row], importance[row], power, alone[row]
        best = best_of_all(*weights, *prices)
        np.testing.assert_allclose(price_of(found[row], *weights, *prices), best, atol=1e-6)


@st.composite
def long_problems(draw):
    """Weights of three inputs: many, some of them equal or without importance."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = np.sort(rng.normal(0, 1, (3, draw(st.integers(17, 72)))), axis=1)
    values = values.round(draw(st.integers(0, 6)))
    even = draw(st.booleans())
    importance = np.ones_like(values) if even else rng.exponential(1, values.shape)
    importance *= even or rng.random(values.shape) < 0.8
    alone = np.abs(values) * draw(st.floats(0, 4)) * rng.random(values.shape)
    paid = 10 ** draw(st.floats(-3, 2)), draw(st.floats(0, 0.5))
    return values, importance, draw(st.sampled_from([1, 2])), alone, *paid


def best_of_long(values, importance, power, alone, per_run, per_member):
    """The least price of all ways to cut, place by place, with the centers that are tried in each run."""
    best = [0.0]
    for stop in range(1, len(values) + 1):
        prices = [best[-1] + alone[stop - 1]]
        for start in range(stop):
            part, mass, members = values[start:stop], importance[start:stop], stop - start
            centers = part[:, None] if power == 1 else np.average(part, weights=mass + 1e-300)
            spread = (mass * np.abs(part - centers) ** power).sum(axis=-1).min()
            loss = spread * (members / (members - 1) if members > 1 else 0)
            prices.append(best[start] + loss + per_run + per_member * members)
        best.append(min(prices))
    return best[-1]


@settings(max_examples=12, deadline=None)
@given(long_problems())
def test_bounds_leave_no_better_cut_of_many_weights_out(problem):
    values, importance, power, alone, *prices = problem
    found = cut(values, importance, power, alone, *prices)
    for row in range(len(values)):
        weights = values[row], importance[row], power, alone[row]
        best = best_of_long(*weights, *prices)
        np.testing.assert_allclose(price_of(found[row], *weights, *prices), best, atol=1e-6)


def test_inputs_beyond_those_that_go_together_are_cut_as_well():
    rng = np.random.default_rng(4)
    values = np.sort(rng.normal(size=(2500, 6)), axis=1)
    ones, alone = np.ones_like(values), np.abs(values)
    found = cut(values, ones, 1, alone, 0.3, 0.01)
    for row in (0, 1023, 1024, 2499):
        one = slice(row, row + 1)
        assert (found[one] == cut(values[one], ones[one], 1, alone[one], 0.3, 0.01)).all()


@given(problems())
def test_the_center_of_a_run_loses_least(problem):
    values, importance, power, *_ = problem
    count, rows = values.shape[1], np.arange(2)
    start, stop = np.zeros(2, int), np.full(2, count)
    runs = runs_of(values, importance, power)
    center, lost_by_runs = (each(start, stop, rows) for each in (runs.center, runs.loss))
    for row in rows:
        lost = (importance[row] * np.abs(values[row] - center[row]) ** power).sum()
        least = run_loss(values[row], importance[row], power)
        np.testing.assert_allclose(lost_by_runs[row], least, atol=1e-6)
        np.testing.assert_allclose(lost, least * (count - 1) / count, atol=1e-6)


def test_equal_weights_make_one_run_though_others_would_be_as_cheap():
    values = np.repeat([[-1.0, 0.5, 2.0]], 25, axis=1)
    found = cut(values, np.ones_like(values), 2, np.full_like(values, 9.0), 0.0, 0.0)
    assert found.tolist() == [[0] * 25 + [25] * 25 + [50] * 25]
