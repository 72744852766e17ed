from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.scheduler import (
    BinaryScheduler,
    ConstantScheduler,
    OptimizationScheduler,
    PolynomialScheduler,
)
from fabricfit.testing import check_scheduler


def all_updates(scheduler, limit=10_000):
    levels = []
    for _ in range(limit):
        changed, sparsity = scheduler.update_step()
        assert sparsity == scheduler.get_sparsity()
        if not changed:
            return levels
        levels.append(sparsity)
    raise AssertionError("the scheduler does not end")


bounds = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda b: b[0] < b[1])


@given(bounds, st.floats(0.01, 1))
def test_constant_steps_are_equal_and_end_at_the_final_sparsity(bound, step):
    levels = all_updates(ConstantScheduler(*bound, step))
    assert levels[-1] == bound[1]
    rises = [b - a for a, b in zip([bound[0], *levels], levels, strict=False)]
    assert all(rise == pytest.approx(step, abs=1e-9) for rise in rises[:-1])
    assert 0 < rises[-1] <= step + 1e-9


@given(bounds, st.floats(0.01, 1), st.integers(0, 9))
def test_schedulers_do_what_a_run_expects(bound, number, seed):
    check_scheduler(lambda: ConstantScheduler(*bound, number), most_levels=200, seed=seed)
    check_scheduler(lambda: BinaryScheduler(*bound, number), most_levels=200, seed=seed)
    steps = round(1 / number)
    check_scheduler(lambda: PolynomialScheduler(steps, *bound), most_levels=200, seed=seed)


def test_a_sum_of_floats_does_not_lose_the_last_step():
    assert all_updates(ConstantScheduler(0, 1, 0.05))[-1] == 1.0
    assert len(all_updates(ConstantScheduler(0, 1, 0.05))) == 20
    assert all_updates(ConstantScheduler(0, 0.9, 0.3)) == pytest.approx([0.3, 0.6, 0.9])


@given(bounds, st.floats(1e-3, 0.5))
def test_bisection_without_a_failure_ends_at_the_final_sparsity(bound, threshold):
    levels = all_updates(BinaryScheduler(*bound, threshold))
    assert levels[-1] == bound[1]
    assert levels == sorted(levels)


@given(st.floats(0, 1), st.floats(1e-3, 0.2))
def test_bisection_finds_the_limit(limit, threshold):
    scheduler = BinaryScheduler(0, 1, threshold)
    best, (changed, sparsity) = 0.0, scheduler.update_step()
    while changed:
        if sparsity <= limit:
            best = sparsity
            changed, sparsity = scheduler.update_step()
        else:
            changed, sparsity = scheduler.repair_step()
    assert limit - threshold <= best <= limit


@given(bounds, st.integers(1, 30), st.floats(0.5, 5))
def test_polynomial_follows_its_formula_and_ends_at_the_final_sparsity(bound, steps, power):
    start, end = bound
    levels = all_updates(PolynomialScheduler(steps, start, end, power))
    assert levels[-1] == end
    assert len(levels) <= steps
    if len(levels) == steps:
        for n, level in enumerate(levels, 1):
            assert level == pytest.approx(end + (start - end) * (1 - n / steps) ** power)


@pytest.mark.parametrize(
    "scheduler", [ConstantScheduler(0, 0.5, 0.2), PolynomialScheduler(3, 0, 0.5)]
)
def test_repair_goes_on_to_the_next_level(scheduler):
    _, first = scheduler.update_step()
    changed, second = scheduler.repair_step()
    assert changed and second > first


@pytest.mark.parametrize(
    "build",
    [
        lambda: ConstantScheduler(-0.1),
        lambda: ConstantScheduler(0, 1.5),
        lambda: ConstantScheduler(0.5, 0.4),
        lambda: ConstantScheduler(update_step=0),
        lambda: ConstantScheduler(float("nan")),
        lambda: BinaryScheduler(threshold=0),
        lambda: PolynomialScheduler(0),
        lambda: PolynomialScheduler(2.5),
        lambda: PolynomialScheduler(3, decay_power=-1),
    ],
)
def test_values_out_of_range_are_refused(build):
    with pytest.raises(InvalidInputError, match="Received"):
        build()


def test_the_base_class_is_abstract():
    with pytest.raises(TypeError):
        OptimizationScheduler()
