"""Order statistics of large arrays, beside a sort of all."""

from __future__ import annotations

import numpy as np
import pytest

from fabricfit.knapsack import GroupedProblem, solve_grouped
from fabricfit.knapsack.ladder import Ladder, top_mask

LARGE = 300_000


def large(kind: str, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = {
        "smooth": rng.exponential(size=LARGE),
        "ties": rng.integers(0, 5, LARGE).astype(float),
        "mostly zero": np.where(rng.random(LARGE) < 0.01, rng.random(LARGE), 0.0),
        "sorted": np.linspace(0, 1, LARGE),
    }[kind].astype(dtype)
    values[[5, 70_000]] = np.inf
    values[[6, 80_000]] = -1
    return values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["smooth", "ties", "mostly zero", "sorted"])
def test_ranks_are_those_of_a_full_sort(kind, dtype):
    values = large(kind, dtype)
    falling = np.sort(values)[::-1].astype(float)
    for start, stop in [(0, 3), (7, 8), (2_900, 3_100), (150_000, 150_001), (LARGE - 2, LARGE)]:
        found = Ladder(values).ranks(start, stop)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, falling[start:stop])


@pytest.mark.parametrize("kind", ["smooth", "ties", "mostly zero", "sorted"])
def test_the_best_are_kept_and_of_equals_the_first(kind):
    values = large(kind, "float32")
    order = np.argsort(-values, kind="stable")
    for count in (0, 1, 2, 3_000, 150_000, LARGE - 1, LARGE):
        expected = np.zeros(LARGE, bool)
        expected[order[:count]] = True
        np.testing.assert_array_equal(Ladder(values).keep(count), expected)
        np.testing.assert_array_equal(top_mask(values, count), expected)


def test_prices_are_not_rounded_to_the_values_precision():
    price = 1 + 1e-9  # in 32 bits it would be 1
    values = np.ones(LARGE, np.float32)
    values[::2] = np.nextafter(np.float32(1), np.float32(2))
    ladder = Ladder(values)
    assert ladder.above(price) == LARGE // 2
    assert ladder.focus(2.0, price) == (0, LARGE // 2)
    below = np.full(LARGE, np.nextafter(np.float32(1), np.float32(0)))
    assert Ladder(below).above(1 - 1e-9) == 0


def test_single_precision_is_chosen_from_as_it_is():
    rng = np.random.default_rng(0)
    values = [rng.exponential(size=n).astype(np.float32) for n in (20_000, 40_000, 9_000)]
    costs, capacity = [[1, 2], [2, 1], [3, 3]], [40_000, 45_000]
    floors, ceilings = [1, 1, 50], [19_000, 40_000, 8_000]
    single = solve_grouped(GroupedProblem(values, costs, capacity, floors, ceilings))
    double = solve_grouped(
        GroupedProblem([v.astype(float) for v in values], costs, capacity, floors, ceilings)
    )
    assert single.value == pytest.approx(double.value, rel=1e-14)
    assert single.status == double.status
    for ours, theirs in zip(single.choice, double.choice, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(v.dtype == np.float32 for v in values)
