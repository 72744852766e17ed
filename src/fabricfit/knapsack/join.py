"""Two halves of a choice put together so that they fill the capacity with the least loss.

Meeting in the middle (Horowitz and Sahni, "Computing partitions with applications to the knapsack
problem", Journal of the ACM 21, 1974) needs about the square root of the states of a single pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from fabricfit.knapsack.states import Limits, States, pack

__all__ = ["join"]

_PAIRS = 1 << 21
_COMBINATIONS = 512
"""Combinations of whole slacks up to which pairs are found by equal sums."""

_TRIES = 64
"""Pairs of one portion that are tried exactly, those of the least loss."""

Accept = Callable[[int, int], bool]


def join(
    first: States,
    second: States,
    slack: np.ndarray,
    prices: np.ndarray,
    most: float,
    limits: Limits,
    accept: Accept,
) -> tuple[float, int, int] | None:
    """Find the pair of states with the least loss that fits.

    Parameters
    ----------
    first, second
        States of two disjoint sets of classes.
    slack
        What the center leaves over, shape ``(M,)``.
    prices
        Shape ``(M,)``.
    most
        The largest loss of interest.
    limits
        Time; noted there when it runs out.
    accept
        Last word on a pair of rows: floats may fit only up to rounding.

    Returns
    -------
    tuple or None
        Loss, row of the first, row of the second.
    """
    if not first.loss.size or not second.loss.size:
        return None
    pairs = _list_pairs_1d if slack.size == 1 else _list_pairs
    best: tuple[float, int, int] | None = None
    for left, right in pairs(first, second, slack, prices, most):
        if limits.over:
            limits.left_out = 0.0
            break
        rest = slack - first.used[left] - second.used[right]
        loss = first.loss[left] + second.loss[right] + np.maximum(rest, 0) @ prices
        fits = (rest >= -_find_tolerance(slack, rest)).all(axis=1) & (loss <= most)
        found = np.flatnonzero(fits)
        ranked = found[np.argsort(loss[found], kind="stable")[:_TRIES]]
        for row in ranked:
            if best is not None and loss[row] >= best[0]:
                break
            if accept(int(left[row]), int(right[row])):
                best = (float(loss[row]), int(left[row]), int(right[row]))
                break
    return best


def _find_tolerance(slack: np.ndarray, rest: np.ndarray) -> float:
    return 0.0 if rest.dtype.kind == "i" else 1e-12 * (1 + float(np.abs(slack).max()))


def _list_pairs_1d(
    first: States, second: States, slack: np.ndarray, prices: np.ndarray, most: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each state of the first, the best of the second that fits beside it."""
    order = np.argsort(second.used[:, 0], kind="stable")
    used = second.used[order, 0]
    worth = second.loss[order] - prices[0] * used
    best = np.minimum.accumulate(worth)
    holder = np.maximum.accumulate(np.where(worth == best, np.arange(worth.size), 0))
    room = slack[0] - first.used[:, 0]
    for tolerance in {0.0, _find_tolerance(slack, room)}:
        place = np.searchsorted(used, room + tolerance, "right") - 1
        left = np.flatnonzero(place >= 0)
        yield left, order[holder[place[left]]]


def _list_pairs(
    first: States, second: States, slack: np.ndarray, prices: np.ndarray, most: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs that leave over no more than the loss allows, in portions."""
    with np.errstate(divide="ignore"):
        spare = np.where(prices > 0, most / prices, np.inf)
    if first.used.dtype.kind == "i":
        chosen: list[int] = []
        for resource in np.argsort(spare):
            sizes = np.prod([spare[r] + 1 for r in [*chosen, resource]])
            if sizes <= _COMBINATIONS:
                chosen.append(int(resource))
        if chosen:
            yield from _list_equal_pairs(first, second, slack, prices, most, chosen, spare)
            return
    width = np.ptp(np.concatenate([first.used, second.used]), axis=0) + 1e-300
    resource = int(np.argmin(spare / width))
    order = np.argsort(second.used[:, resource], kind="stable")
    used = second.used[order, resource]
    room = slack[resource] - first.used[:, resource]
    tolerance = 1e-9 * (1 + abs(float(slack[resource])))
    start = np.searchsorted(used, room - spare[resource] - tolerance, "left")
    stop = np.searchsorted(used, room + tolerance, "right")
    yield from _cut_portions(start, stop, order)


def _list_equal_pairs(
    first: States,
    second: States,
    slack: np.ndarray,
    prices: np.ndarray,
    most: float,
    chosen: list[int],
    spare: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs that leave over exactly one of the few amounts that the loss allows, each in turn."""
    ranges = [range(int(spare[resource]) + 1) for resource in chosen]
    for amounts in itertools.product(*ranges):
        if np.dot(amounts, prices[chosen]) > most:
            continue
        target = slack[chosen] - np.array(amounts, np.int64) - first.used[:, chosen]
        key = pack(second.used[:, chosen], target)
        have, want = key[: second.loss.size], key[second.loss.size :]
        order = np.argsort(have, kind="stable")
        have = have[order]
        start, stop = np.searchsorted(have, want, "left"), np.searchsorted(have, want, "right")
        yield from _cut_portions(start, stop, order)


def _cut_portions(
    start: np.ndarray, stop: np.ndarray, order: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Spell out row i with ``order[start[i]:stop[i]]``, not too many pairs at a time."""
    rows = np.flatnonzero(stop > start)
    counts = (stop - start)[rows]
    ends = np.cumsum(counts)
    begin = 0
    while begin < rows.size:
        done = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, done + _PAIRS, "right")), begin + 1)
        part = counts[begin:end]
        within = np.arange(int(part.sum())) - np.repeat(np.cumsum(part) - part, part)
        yield (
            np.repeat(rows[begin:end], part),
            order[np.repeat(start[rows[begin:end]], part) + within],
        )
        begin = end
