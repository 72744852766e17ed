"""The exact solver for items that come in layers of equal cost.

Layers of equal cost are one class; of a class the best k items are kept. Prices of the linear
relaxation say where each class breaks (:mod:`fabricfit.knapsack.price`), and a search over the few
items around the breaks proves the optimum (:mod:`fabricfit.knapsack.search`). Only that
neighbourhood is ever sorted, so that time hardly grows with the number of items.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from fabricfit.checks import instance, number, whole_number
from fabricfit.knapsack.ladder import Ladder, top_mask
from fabricfit.knapsack.price import find_prices
from fabricfit.knapsack.problem import FloorError, GroupedProblem, KnapsackResult, exact_use
from fabricfit.knapsack.relaxation import Core
from fabricfit.knapsack.search import search
from fabricfit.knapsack.states import Limits

__all__ = ["solve_grouped"]

_WHOLE = 2**50
_ROUNDING = 1e-10
_FINEST = 20
"""Costs are counted in whole units of at least 2**-20 where they can be."""

_PIECE = 1 << 16
"""Values that are added up at a time."""


def solve_grouped(
    problem: GroupedProblem, *, time_limit: float = 30.0, state_limit: int = 200_000
) -> KnapsackResult:
    """Choose what to keep of each layer, with a proof of how good the choice is.

    Parameters
    ----------
    problem
        Values, costs and limits.
    time_limit
        Seconds after which the best choice so far is returned, with its proven gap.
    state_limit
        Partial choices held at a time, which bounds the memory. Where it cuts, the result may keep
        a gap.

    Returns
    -------
    KnapsackResult
        With ``status='optimal'`` and a gap of 0, unless a limit came first. Among items of equal
        value in one layer the first are kept. What still fits beside an optimum, having no value,
        is kept.

    Raises
    ------
    FloorError
        The floors do not fit into the capacity (an :class:`~fabricfit.errors.InfeasibleError`).
    InvalidInputError
        A limit is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> problem = GroupedProblem([np.array([5.0, 1.0]), np.array([4.0, 3.0])], [[3], [2]], [5])
    >>> result = solve_grouped(problem)
    >>> result.value, result.counts.tolist(), result.status
    (9.0, [1, 1], 'optimal')
    """
    instance("problem", problem, GroupedProblem)
    seconds = number("time_limit", time_limit, above=0, infinite=True)
    limits = Limits(time.perf_counter() + seconds, whole_number("state_limit", state_limit))
    _check_floors(problem)
    if (exact_use(problem.ceilings, problem.costs) <= problem.capacity).all():
        masks = zip(problem.values, problem.ceilings.tolist(), strict=True)
        return _make_result(problem, [top_mask(values, count) for values, count in masks], 0.0)
    classes = _Classes(problem)
    counts, gap = _solve_classes(classes, limits, 1.0 if _has_whole_values(problem) else 0.0)
    return _make_result(problem, classes.masks(_top_up(classes, counts)), gap)


def _check_floors(problem: GroupedProblem) -> None:
    least = exact_use(problem.floors, problem.costs)
    over = least > problem.capacity
    if over.any():
        excess = np.where(over, least / np.maximum(problem.capacity, 1e-300), 0)
        worst = int(np.argmax(excess))
        raise FloorError(worst, float(least[worst]), float(problem.capacity[worst]))


def _make_result(problem: GroupedProblem, choice: list[np.ndarray], gap: float) -> KnapsackResult:
    counts = np.array([np.count_nonzero(mask) for mask in choice], np.int64)
    pairs = zip(problem.values, choice, strict=True)
    value = math.fsum(_sum_values(values, mask) for values, mask in pairs)
    bound = value + gap
    return KnapsackResult(
        value=value,
        choice=choice,
        counts=counts,
        used=exact_use(counts, problem.costs),
        capacity=problem.capacity,
        bound=bound,
        status="optimal" if bound == value else "feasible",
    )


def _sum_values(values: np.ndarray, mask: np.ndarray) -> float:
    """Add up what is kept, piece by piece: one that stays in the cache is masked and added much faster."""
    total, held = 0.0, np.empty(min(_PIECE, values.size))
    for start in range(0, values.size, _PIECE):
        part = values[start : start + _PIECE]
        kept = np.multiply(part, mask[start : start + _PIECE], out=held[: part.size])
        total += float(kept.sum())
    return total


class _Classes:
    """The layers of a problem by what they cost of the resources that are scarce."""

    def __init__(self, problem: GroupedProblem) -> None:
        self.scarce = exact_use(problem.ceilings, problem.costs) > problem.capacity
        self.capacity = problem.capacity[self.scarce]
        self._sizes = [values.size for values in problem.values]
        self.costs, owner = np.unique(problem.costs[:, self.scarce], axis=0, return_inverse=True)
        self._members = [np.flatnonzero(owner.reshape(-1) == i) for i in range(len(self.costs))]
        self.ladders = [_make_ladder(problem, members) for members in self._members]

    def fits(self, counts: np.ndarray) -> bool:
        """Whether counts fit: their exact sum, rounded once, is within the capacity."""
        rough = counts @ self.costs
        if (rough < self.capacity * (1 - _ROUNDING)).all():
            return True
        if (rough > self.capacity * (1 + _ROUNDING)).any():
            return False
        return bool((exact_use(counts, self.costs) <= self.capacity).all())

    def masks(self, counts: np.ndarray) -> list[np.ndarray]:
        """Return what is kept of each layer."""
        masks: list[np.ndarray] = [np.empty(0, bool)] * len(self._sizes)
        for ladder, members, count in zip(self.ladders, self._members, counts, strict=True):
            ends = np.cumsum([self._sizes[layer] for layer in members])[:-1]
            parts = np.split(ladder.keep(int(count)), ends)
            for layer, part in zip(members, parts, strict=True):
                masks[layer] = part
        return masks


def _make_ladder(problem: GroupedProblem, members: np.ndarray) -> Ladder:
    """Put layers together; what must stay is worth infinity, what must not, less than nothing."""
    parts = [problem.values[layer] for layer in members]
    floors, ceilings = problem.floors[members], problem.ceilings[members]
    together = np.concatenate(parts)
    ends = np.cumsum([part.size for part in parts])[:-1]
    for own, values, floor, ceiling in zip(
        np.split(together, ends), parts, floors.tolist(), ceilings.tolist(), strict=True
    ):
        if ceiling < values.size:
            own[~top_mask(values, ceiling)] = -1
        if floor:
            own[top_mask(values, floor)] = np.inf
    return Ladder(together, int(floors.sum()), int(ceilings.sum()))


def _has_whole_values(problem: GroupedProblem) -> bool:
    for values in problem.values:
        for part in (values[:1000], values[1000:]):
            if (part != np.floor(part)).any():
                return False
    return math.fsum(float(values.sum(dtype=np.float64)) for values in problem.values) < _WHOLE


def _solve_classes(
    classes: _Classes, limits: Limits, value_unit: float
) -> tuple[np.ndarray, float]:
    """Return how many items of each class to keep, and the proven gap."""
    counts = np.array([ladder.high for ladder in classes.ladders])
    low = np.array([ladder.low for ladder in classes.ladders])
    paid = np.flatnonzero(classes.costs.any(axis=1))
    base = counts.copy()
    base[paid] = low[paid]
    for index in paid:
        counts[index] = _count_most(classes, base, int(index), int(counts[index]))
    if paid.size == 1 or classes.fits(counts):
        return counts, 0.0
    ladders = []
    for index in paid:
        ladder = classes.ladders[index]
        ladder.high = min(int(counts[index]), max(ladder.low, ladder.positive))
        ladders.append(ladder)
    counts[paid] = [ladder.high for ladder in ladders]
    if classes.fits(counts):
        return counts, 0.0

    def fits(part: np.ndarray) -> bool:
        counts[paid] = part
        return classes.fits(counts)

    core = _make_core(ladders, classes.costs[paid], classes.capacity, fits)
    found = search(core, fits, limits, value_unit)
    counts[paid] = found.counts
    return counts, found.gap


def _count_most(classes: _Classes, base: np.ndarray, index: int, high: int) -> int:
    """Return how many items of one class fit beside the least of all others."""
    cost = classes.costs[index]
    rest = classes.capacity - base @ classes.costs
    paid = cost > 0
    with np.errstate(over="ignore"):
        room = float(np.floor(rest[paid] / cost[paid]).min()) + 1
    count = int(min(high, base[index] + room))
    trial = base.copy()
    while count > base[index]:
        trial[index] = count
        if classes.fits(trial):
            break
        count -= 1
    return count


def _make_core(
    ladders: list[Ladder],
    costs: np.ndarray,
    capacity: np.ndarray,
    fits: Callable[[np.ndarray], bool],
) -> Core:
    """Find prices and a center that fits, in whole units where the costs allow it."""
    prices, center = find_prices(ladders, costs, capacity)
    center = _repair_counts(ladders, costs, capacity, prices, center, fits)
    unit = _find_whole_unit(costs, np.array([ladder.size for ladder in ladders]))
    if unit:
        whole = np.round(costs * unit).astype(np.int64)
        slack = np.floor(capacity * unit).astype(np.int64) - center @ whole
        return Core(ladders, whole, prices / unit, center, slack)
    return Core(ladders, costs, prices, center, _count_exact_slack(center, costs, capacity))


def _repair_counts(
    ladders: list[Ladder],
    costs: np.ndarray,
    capacity: np.ndarray,
    prices: np.ndarray,
    center: np.ndarray,
    fits: Callable[[np.ndarray], bool],
) -> np.ndarray:
    """Take away items, the least loss for the excess first, until the center fits."""
    center = center.copy()
    low = np.array([ladder.low for ladder in ladders])
    while not fits(center):
        over = np.maximum(exact_use(center, costs) - capacity, 0)
        share = costs @ (over / np.maximum(capacity, 1e-300) + (over > 0) * 1e-12)
        able = np.flatnonzero((center > low) & (share > 0))
        last = [float(ladders[i].ranks(int(center[i]) - 1, int(center[i]))[0]) for i in able]
        worst = able[int(np.argmin((np.array(last) - costs[able] @ prices) / share[able]))]
        paid = costs[worst] > 0
        with np.errstate(over="ignore"):
            needed = float(np.ceil((over[paid] / costs[worst][paid]).max()))
        center[worst] -= int(min(max(needed, 1), center[worst] - low[worst]))
    return center


def _find_whole_unit(costs: np.ndarray, sizes: np.ndarray) -> int:
    """Return the power of two by which all costs become whole numbers that add up safely, or 0."""
    for power in range(_FINEST + 1):
        scaled = costs * 2**power
        if (scaled == np.floor(scaled)).all():
            return 2**power if (sizes @ scaled).max() < _WHOLE else 0
    return 0


def _count_exact_slack(center: np.ndarray, costs: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    slack = []
    for column, limit in zip(costs.T.tolist(), capacity.tolist(), strict=True):
        pairs = zip(center.tolist(), column, strict=True)
        slack.append(float(Fraction(limit) - sum(Fraction(cost) * count for count, cost in pairs)))
    return np.maximum(slack, 0.0)


def _top_up(classes: _Classes, counts: np.ndarray) -> np.ndarray:
    """Keep what still fits, best first; beside an optimum that is only what has no value."""
    counts = counts.copy()
    for index in range(counts.size):
        high = classes.ladders[index].ceiling
        if counts[index] < high:
            counts[index] = _count_most(classes, counts, index, high)
    return counts
