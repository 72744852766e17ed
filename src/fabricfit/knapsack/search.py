"""The search for the choice of least loss: every one within a loss that grows until one exists.

As the enumeration within a loss is complete, the best choice found in it is an optimum, proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fabricfit.knapsack.join import join
from fabricfit.knapsack.relaxation import Core, Moves, Relaxation
from fabricfit.knapsack.states import Limits, grow

__all__ = ["Found", "search"]

_REACH = 16
"""Items by which the count of a class may move from the center at first, to either side."""

_MOST_REACH = 1 << 13
"""Items by which it may move at most."""

_CAPPED_ROUNDS = 3
"""Rounds in which moves were left out, after which the search ends."""

_FIRST_CLASSES = 8
"""Classes that can move within the first loss that is tried."""

_FAR_APART = 4
"""Ratio of numbers of moves from which classes that move far are joined by themselves."""


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Parameters
    ----------
    counts
        Items kept of each class, shape ``(L,)``.
    gap
        Proven: no choice is better by more. 0 for an optimum.
    """

    counts: np.ndarray
    gap: float


def search(
    core: Core, fits: Callable[[np.ndarray], bool], limits: Limits, value_unit: float = 0.0
) -> Found:
    """Find the choice of least loss, or the best one within the limits.

    Parameters
    ----------
    core
        The problem around a center that fits.
    fits
        Whether counts fit, exactly.
    limits
        Time and states.
    value_unit
        All values are multiples of it, so that a better choice is better by as much at least; 0
        where there is no such unit.
    """
    counts = _fill_capacity(core)
    if not fits(counts):
        counts = core.center
    moves = [core.moves(index, _REACH) for index in range(len(core.ladders))]
    least = _sum_loss(core, moves, counts)
    most = _guess_first_loss(moves, least)
    proven, capped = 0.0, 0
    while proven < (target := _find_sufficient_loss(least, value_unit)) and not limits.over:
        most = min(most, target)
        limits.left_out = np.inf
        outcome = _enumerate_choices(core, moves, most, limits, fits)
        if outcome.counts is not None and outcome.loss < least:
            counts, least = outcome.counts, outcome.loss
        proven = max(proven, min(most, limits.left_out))
        if limits.left_out < most:
            capped += 1
            if capped >= _CAPPED_ROUNDS or most >= target:
                break
        most *= 4 if outcome.states < 1_000 else 2 if outcome.states < 20_000 else 1.5
    done = proven >= _find_sufficient_loss(least, value_unit)
    return Found(counts, 0.0 if done else least - proven)


def _find_sufficient_loss(least: float, value_unit: float) -> float:
    """Return up to which loss nothing must exist for the best choice so far to be an optimum."""
    return max(least - value_unit * (1 - 1e-6), 0.0)


@dataclass(frozen=True)
class _Outcome:
    counts: np.ndarray | None
    loss: float
    states: int


def _guess_first_loss(moves: list[Moves], least: float) -> float:
    """Return a loss within which a few classes can move."""
    steps = [np.partition(m.losses, 1)[1] - m.losses.min() for m in moves if m.losses.size > 1]
    few = np.sort(np.maximum(steps, 0))[:_FIRST_CLASSES]
    return max(float(few[-1]) if few.size else 0.0, least * 1e-6)


def _sum_loss(core: Core, moves: list[Moves], counts: np.ndarray) -> float:
    """Return the loss of some counts, whether or not the moves reach so far."""
    total = float(np.maximum(core.slack - (counts - core.center) @ core.costs, 0) @ core.prices)
    for index, (move, offset) in enumerate(zip(moves, counts - core.center, strict=True)):
        if not move.offsets[0] <= offset <= move.offsets[-1]:
            move = core.moves(index, abs(int(offset)))
        total += float(move.losses[int(offset - move.offsets[0])])
    return total


def _fill_capacity(core: Core) -> np.ndarray:
    """Fill what the center leaves over, best value for its price first."""
    counts, slack = core.center.copy(), core.slack.copy()
    asked = core.costs @ core.prices
    rates = [
        ladder.ranks(int(count), int(count) + 1)[0] / max(each, 1e-300)
        if count < ladder.high
        else 0
        for ladder, count, each in zip(core.ladders, counts, asked, strict=True)
    ]
    for index in np.argsort(-np.array(rates), kind="stable"):
        paid = core.costs[index] > 0
        with np.errstate(over="ignore"):
            room = float(np.floor(slack[paid] / core.costs[index][paid]).min())
        more = int(min(room, core.ladders[index].high - counts[index]))
        if more > 0:
            counts[index] += more
            slack = slack - more * core.costs[index]
    return counts


def _enumerate_choices(
    core: Core,
    moves: list[Moves],
    most: float,
    limits: Limits,
    fits: Callable[[np.ndarray], bool],
) -> _Outcome:
    """Look at every choice whose loss is at most ``most``; widen ``moves`` where that is needed."""
    relaxation, near = _keep_near_moves(core, moves, most, limits)
    sizes = np.array([move.offsets.size for move in near])
    if not sizes.all():
        return _Outcome(None, np.inf, 0)
    active = _find_binding(core, near)
    costs, prices = core.costs[:, active], core.prices[active]
    if active.size < core.prices.size:
        relaxation = Relaxation(moves, costs, prices)
    base = np.array([move.offsets[0] if move.offsets.size == 1 else 0 for move in near])
    spent = sum(float(move.losses[0]) for move in near if move.offsets.size == 1)
    slack = core.slack[active] - base @ costs
    free = [index for index in np.argsort(sizes, kind="stable").tolist() if sizes[index] > 1]
    inner = Limits(limits.deadline, limits.states)
    task = (near, costs, slack, prices, relaxation, most - spent, inner)
    first, second = (grow(order, *task) for order in _split_classes(free, sizes, active.size))

    def counts_of(left: int, right: int) -> np.ndarray:
        counts = core.center + base
        for index, offset in (first.trace(left) | second.trace(right)).items():
            counts[index] += offset
        return counts

    def accept(left: int, right: int) -> bool:
        return fits(counts_of(left, right))

    found = join(first, second, slack, prices, most - spent, inner, accept)
    limits.left_out = min(limits.left_out, inner.left_out + spent)
    states = max(first.loss.size, second.loss.size)
    if found is None:
        return _Outcome(None, np.inf, states)
    return _Outcome(counts_of(found[1], found[2]), found[0] + spent, states)


def _split_classes(
    free: list[int], sizes: np.ndarray, resources: int
) -> tuple[list[int], list[int]]:
    """Divide the classes, given with the fewest moves first.

    On plateaus of equal values as many classes as resources can move far at hardly any loss.
    Together they have to hit what the others leave, and so are few; apart they would be many.
    """
    near, far = free[:-resources], free[-resources:][::-1]
    if near and sizes[far[-1]] > _FAR_APART * sizes[near[-1]]:
        return near[::2], far + near[1::2]
    return free[::2], free[1::2]


def _keep_near_moves(
    core: Core, moves: list[Moves], most: float, limits: Limits
) -> tuple[Relaxation, list[Moves]]:
    """Keep the moves that can be part of a choice of at most this loss, by the relaxed bound."""
    while True:
        relaxation = Relaxation(moves, core.costs, core.prices)
        promises = [_find_promises(core, moves, relaxation, index) for index in range(len(moves))]
        widened = False
        for index, (move, promise) in enumerate(zip(moves, promises, strict=True)):
            edges = [promise[0]] * move.open_below + [promise[-1]] * move.open_above
            if min(edges, default=np.inf) > most:
                continue
            reach = int(np.abs(move.offsets).max())
            if reach < _MOST_REACH and not limits.over:
                moves[index] = core.moves(index, 4 * reach)
                widened = True
            else:
                limits.left_out = min(limits.left_out, *edges)
        if not widened:
            break
    near = [
        Moves(move.offsets[promise <= most], move.losses[promise <= most], False, False)
        for move, promise in zip(moves, promises, strict=True)
    ]
    return relaxation, near


def _find_promises(
    core: Core, moves: list[Moves], relaxation: Relaxation, index: int
) -> np.ndarray:
    """Bound the loss of all choices with each of the moves of one class."""
    others = np.ones(len(moves), bool)
    others[index] = False
    left = core.slack - moves[index].offsets[:, None] * core.costs[index]
    return moves[index].losses + relaxation.bound(left, others)


def _find_binding(core: Core, near: list[Moves]) -> np.ndarray:
    """Return the resources that matter: those that have a price or can be exceeded."""
    most = np.array([max(int(move.offsets[-1]), 0) for move in near])
    binding = np.flatnonzero((core.prices > 0) | (most @ core.costs > core.slack))
    return binding if binding.size else np.zeros(1, np.int64)
