"""Sharing along sorted weights, against a search of every way to cut them."""

import numpy as np
from hypothesis import given
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


@given(problems())
def test_no_other_way_to_cut_is_cheaper(problem):
    values, importance, power, alone, per_run, per_member = problem
    runs = cheapest_runs(Runs(values, importance, power), alone, per_run, per_member)
    for row in range(len(values)):
        total = 0.0
        for start in set(runs[row].tolist()):
            members = np.flatnonzero(runs[row] == start)
            if start < 0:
                total += alone[row, members].sum()
                continue
            assert members[0] == start
            assert (np.diff(members) == 1).all()
            loss = run_loss(values[row, members], importance[row, members], power)
            total += loss + per_run + per_member * len(members)
        best = best_of_all(values[row], importance[row], power, alone[row], per_run, per_member)
        np.testing.assert_allclose(total, best, atol=1e-6)


@given(problems())
def test_the_center_of_a_run_loses_least(problem):
    values, importance, power, *_ = problem
    start = np.zeros((2, 1), int)
    center = Runs(values, importance, power).center(start, values.shape[1])[:, 0]
    for row in range(2):
        lost = (importance[row] * np.abs(values[row] - center[row]) ** power).sum()
        count = values.shape[1]
        least = run_loss(values[row], importance[row], power) * max(count - 1, 0) / count
        np.testing.assert_allclose(lost, least if count > 1 else 0, atol=1e-6)


def test_runs_can_be_kept_short():
    values = np.arange(6.0)[None] / 100
    runs = Runs(values, np.ones_like(values), 2)
    alone = np.full_like(values, 9.0)
    assert cheapest_runs(runs, alone, 1.0, 0.0).tolist() == [[0] * 6]
    assert cheapest_runs(runs, alone, 1.0, 0.0, longest=1).tolist() == [list(range(6))]
