"""Choices within limits, against a search of all of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.choices import (
    ConstantChoices,
    ConstantLevel,
    ConstantPrices,
    GroupChoices,
    Treatment,
    solve_choices,
)
from fabricfit.choices.ranking import GroupLosses, group_losses, weight_loss
from fabricfit.description.attributes import OptimizationAttributes, grouping_of
from fabricfit.description.grouping import Grouping
from fabricfit.errors import InfeasibleError, InvalidInputError

PRICES = ConstantPrices(
    (
        ConstantLevel(np.zeros(1), np.zeros(2)),
        ConstantLevel(np.array([-1, -0.5, 0.5, 1]), np.array([0.0, 1])),
        ConstantLevel(np.array([-0.75, -0.625, 0.625, 0.75]), np.array([0.0, 2])),
    ),
    kept=np.array([0.0, 1]),
    distinct=np.array([1.0, 0]),
)
kernels = st.lists(st.floats(-1.2, 1.2), min_size=6, max_size=6)


def constants(kernel, minimum=0, metric="l2"):
    kernel = np.array(kernel, float)
    return ConstantChoices(kernel, PRICES, weight_loss(kernel, metric), np.zeros(2), minimum)


def every_way(row, power=2):
    """All that may become of the weights on one input: cost -> least loss."""
    values, found = np.sort(row), {}

    def go(start, loss, cost):
        if start == len(values):
            found[cost] = min(found.get(cost, np.inf), loss)
            return
        for level in PRICES.levels:
            distance = np.abs(level.values - values[start]).min()
            paid = tuple(np.add(cost, level.cost))
            go(start + 1, loss + distance**power, paid)
        for stop in range(start + 1, len(values) + 1):
            run, count = values[start:stop], stop - start
            center = run.mean() if power == 2 else np.median(run)
            spread = (np.abs(run - center) ** power).sum() * (
                count / (count - 1) if count > 1 else 0
            )
            go(stop, loss + spread, tuple(np.add(cost, PRICES.distinct + count * PRICES.kept)))

    go(0, 0.0, (0.0, 0.0))
    return found


@settings(max_examples=40, deadline=None)
@given(kernels, st.integers(0, 6), st.integers(0, 8), st.sampled_from(["l1", "l2"]))
def test_constants_are_within_their_proven_gap_of_the_best(weights, dsps, adders, metric):
    kernel, allowed = np.reshape(weights, (2, 3)), np.array([dsps, adders], float)
    choices = constants(kernel, metric=metric)
    solution = solve_choices([choices], allowed)
    assert (solution.used <= allowed + 1e-9).all()
    ways = [every_way(row, {"l1": 1, "l2": 2}[metric]) for row in kernel]
    best = min(
        first[1] + second[1]
        for first, second in itertools.product(*(way.items() for way in ways))
        if (np.add(first[0], second[0]) <= allowed).all()
    )
    assert solution.loss >= best - 1e-6
    assert solution.loss - solution.gap <= best + 1e-6


@settings(max_examples=30, deadline=None)
@given(kernels, st.integers(0, 6), st.integers(0, 8))
def test_a_treatment_is_what_was_paid_for(weights, dsps, adders):
    kernel = np.reshape(weights, (2, 3))
    choices = constants(kernel)
    solution = solve_choices([choices], np.array([dsps, adders], float))
    treatment = choices.treatment(solution.picks[0])
    treated = treatment.apply(kernel)
    own = (treatment.mask != 0) | (treatment.cluster > 0)
    distinct = np.count_nonzero(treatment.mask) + len(set(treatment.cluster[treatment.cluster > 0]))
    settled = treated[~own]
    known = np.concatenate([level.values for level in PRICES.levels])
    assert np.isin(settled, known).all()
    two_digits = np.isin(settled, PRICES.levels[2].values).sum()
    used = [distinct, own.sum() + np.count_nonzero(settled) + two_digits]
    np.testing.assert_allclose(solution.used, used)
    for number in set(treatment.cluster[treatment.cluster > 0].tolist()):
        places = np.argwhere(treatment.cluster == number)
        assert len(places) > 1
        assert len(set(places[:, 0])) == 1  # on one input
        assert len(set(treated[treatment.cluster == number])) == 1


def test_nothing_is_changed_where_all_fits():
    kernel = np.array([[0.3, -0.8], [0.31, 0.2]])
    choices = constants(kernel)
    solution = solve_choices([choices], np.array([4.0, 4.0]))
    np.testing.assert_array_equal(choices.treatment(solution.picks[0]).apply(kernel), kernel)
    assert solution.loss == 0


def test_without_multipliers_weights_become_the_nearest_cheap_constants():
    kernel = np.array([[0.61, -0.97], [0.01, 0.52]])
    choices = constants(kernel)
    solution = solve_choices([choices], np.array([0.0, 99.0]))
    treated = choices.treatment(solution.picks[0]).apply(kernel)
    np.testing.assert_array_equal(treated, [[0.625, -1], [0, 0.5]])


def test_equal_weights_on_one_input_share_before_others_are_changed():
    kernel = np.array([[0.3, 0.3, 0.31, 0.9]])
    choices = constants(kernel)
    solution = solve_choices([choices], np.array([2.0, 99.0]))
    treatment = choices.treatment(solution.picks[0])
    assert treatment.cluster[0, 0] == treatment.cluster[0, 1] == treatment.cluster[0, 2] > 0
    assert treatment.mask[0].tolist() == [0, 0, 0, 1]


def test_some_weights_stay_whatever_it_costs():
    kernel = np.array([[0.3, -0.9], [0.2, 0.1]])
    choices = constants(kernel, minimum=1)
    cheapest = choices.cheapest()
    assert cheapest.cost.sum(axis=0).tolist() == [0, 1]
    assert choices.treatment(cheapest.pick).apply(kernel).tolist() == [[0, -1], [0, 0]]
    with pytest.raises(InfeasibleError, match="at least"):
        solve_choices([choices], np.array([0.0, 0.0]))


def test_a_criterion_of_another_law_keeps_weights_one_by_one():
    kernel = np.array([[0.3, 0.3, 0.3]])
    choices = ConstantChoices(kernel, PRICES, lambda change: np.abs(change) ** 3, np.zeros(2), 0)
    solution = solve_choices([choices], np.array([1.0, 99.0]))
    assert (choices.treatment(solution.picks[0]).cluster == 0).all()


def test_groups_and_constants_are_chosen_together():
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(4, 4))
    attributes = OptimizationAttributes("pattern", pruning=True, pattern_offset=4)
    losses = group_losses(kernel, attributes, "l2")
    grouping = grouping_of(kernel.shape, attributes)
    groups = GroupChoices(kernel, grouping, losses, np.array([2.0, 3]), np.array([1.0, 0]), 1)
    others = constants(rng.normal(size=(3, 3)) / 2)
    solution = solve_choices([groups, others], np.array([9.0, 14.0]))
    assert (solution.used <= [9, 14]).all()
    kept = groups.treatment(solution.picks[0]).mask.any(axis=0).sum()
    assert 1 <= kept <= 4
    free = others.respond(solution.prices).loss.sum()
    assert solution.loss - solution.gap <= solution.loss
    assert free >= 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=8), st.integers(1, 3), st.integers(0, 30))
def test_groups_of_equal_cost_are_chosen_best_first(losses, saved, allowed):
    loss = np.array(losses)
    kernel = np.ones((1, loss.size))
    grouping = Grouping(kernel.shape, "unstructured")
    choices = GroupChoices(
        kernel, grouping, GroupLosses(loss, np.zeros(loss.size, bool)), [saved], [0], 0
    )
    solution = solve_choices([choices], np.array([allowed], float))
    stay = min(allowed // saved, loss.size)
    best = np.sort(loss)[: loss.size - stay].sum()
    assert solution.loss >= best - 1e-9
    assert solution.loss - solution.gap <= best + 1e-6
    assert solution.used[0] <= allowed


def test_shared_groups_start_from_their_mean():
    kernel = np.array([[1.0, 5.0], [3.0, 7.0]])
    grouping = Grouping(kernel.shape, "structured")
    treatment = Treatment.of_groups(
        kernel, grouping, np.array([True, False]), np.array([True, True])
    )
    assert treatment.apply(kernel).tolist() == [[1, 6], [3, 6]]
    assert treatment.cluster.tolist() == [[0, 2], [0, 2]]


def test_levels_begin_with_zero():
    with pytest.raises(InvalidInputError, match="first of them zero"):
        ConstantPrices((PRICES.levels[1], PRICES.levels[2]), np.zeros(2), np.zeros(2))
