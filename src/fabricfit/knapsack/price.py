"""The prices of the resources at which the linear relaxation of a grouped knapsack fits.

At prices ``lam`` an item of class *l* is worth keeping where its value exceeds ``costs[l] @ lam``
(Lagrangian relaxation: Fisher, "The Lagrangian relaxation method for solving integer programming
problems", Management Science 27, 1981). One resource: the break item of Dantzig's fractional
solution (Operations Research 5, 1957). Several: linear programs over blocks of neighbouring ranks,
coarse at first, down to single items. Large classes are sampled to find the place, then sorted only
there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from fabricfit.knapsack.ladder import Ladder

__all__ = ["find_prices"]

_SAMPLE = 1 << 16
_BLOCKS = 8
"""Blocks of ranks to either side of the center in one linear program."""

_LEVELS = 24
"""Linear programs at most, each with smaller blocks."""


def find_prices(
    ladders: Sequence[Ladder], costs: np.ndarray, capacity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find near-optimal prices and a count of each class that goes with them.

    Parameters
    ----------
    ladders
        The values of each class.
    costs
        What an item of each class costs, shape ``(L, M)``, no row zero.
    capacity
        Shape ``(M,)``; all items together exceed it in every resource.

    Returns
    -------
    prices
        Shape ``(M,)``, not negative.
    counts
        Shape ``(L,)``: items worth more than their price, rounded down where a class is split. They
        fit, up to rounding.
    """
    if costs.shape[1] == 1:
        return _find_break_item(ladders, costs[:, 0], float(capacity[0]))
    total = sum(ladder.size for ladder in ladders)
    prices = np.zeros(costs.shape[1])
    if total > _SAMPLE:
        samples, weights = _draw_samples(ladders, total)
        prices, _ = _refine_prices(
            samples, weights, costs, capacity, prices, [s.size for s in samples]
        )
        spans = _focus_ladders(ladders, samples, weights, costs @ prices)
    else:
        spans = [ladder.size for ladder in ladders]
    return _refine_prices(ladders, np.ones(len(ladders)), costs, capacity, prices, spans)


def _draw_samples(ladders: Sequence[Ladder], total: int) -> tuple[list[Ladder], np.ndarray]:
    """Draw from each class, always in the same way; return also what one drawn item stands for."""
    rng = np.random.default_rng(0)
    samples, weights = [], []
    for ladder in ladders:
        size = min(ladder.size, max(256, _SAMPLE * ladder.size // total))
        drawn = ladder.values
        if size < ladder.size:
            drawn = drawn[rng.integers(0, ladder.size, size)]
        weight = ladder.size / size
        low = int(np.count_nonzero(np.isinf(drawn)))  # those that must stay, as many as were drawn
        samples.append(Ladder(drawn, low, max(round(ladder.high / weight), low)))
        weights.append(weight)
    return samples, np.array(weights)


def _find_break_item(
    ladders: Sequence[Ladder], cost: np.ndarray, capacity: float
) -> tuple[np.ndarray, np.ndarray]:
    for top, bottom in _bracket_ranks(ladders, cost, capacity):
        spans = [
            ladder.focus(top * each, bottom * each)
            for ladder, each in zip(ladders, cost, strict=True)
        ]
        limits = [(ladder.low, ladder.high) for ladder in ladders]
        start, stop = np.clip(np.array(spans).T, *np.array(limits).T)
        if cost @ start <= capacity and (bottom == 0 or cost @ stop > capacity):
            break
    owner = np.repeat(np.arange(cost.size), stop - start)
    parts = [
        ladder.ranks(first, last) for ladder, first, last in zip(ladders, start, stop, strict=True)
    ]
    ratio = np.concatenate(parts) / cost[owner]
    order = np.argsort(-ratio, kind="stable")
    used = cost @ start + np.cumsum(cost[owner[order]])
    broken = int(np.searchsorted(used, capacity, "right"))
    price = float(ratio[order[broken]]) if broken < order.size else 0.0
    counts = start + np.bincount(owner[order[:broken]], minlength=cost.size)
    return np.array([price]), counts


def _bracket_ranks(
    ladders: Sequence[Ladder], cost: np.ndarray, capacity: float
) -> list[tuple[float, float]]:
    """Give price intervals to search, each wider than the one before; the last holds everything."""
    everything = (np.inf, 0.0)
    total = sum(ladder.size for ladder in ladders)
    if total <= _SAMPLE:
        return [everything]
    samples, weights = _draw_samples(ladders, total)
    sizes = [sample.size for sample in samples]
    mass = np.repeat(cost * weights, sizes)
    values = np.concatenate([sample.values for sample in samples])
    ratio = values / np.repeat(cost, sizes)
    order = np.argsort(-ratio)
    ratio, used = ratio[order], np.cumsum(mass[order])
    brackets = []
    for width in (2, 8):
        spread = width * float(np.sqrt(np.sum(mass**2)))
        first, last = np.searchsorted(used, [capacity - spread, capacity + spread], "right")
        top = float(ratio[first - 1]) if first > 0 else np.inf
        bottom = max(float(ratio[last]), 0.0) if last < ratio.size else 0.0
        brackets.append((top, bottom))
    return [*brackets, everything]


def _focus_ladders(
    ladders: Sequence[Ladder], samples: Sequence[Ladder], weights: np.ndarray, price: np.ndarray
) -> list[int]:
    """Sort each class around its price, as far as samples are uncertain; return how many ranks."""
    spans = []
    for ladder, sample, weight, each in zip(ladders, samples, weights, price, strict=True):
        if weight == 1:
            spans.append(min(64, ladder.size))
            continue
        middle = sample.above(float(each))
        reach = 8 + 2 * int(np.sqrt(sample.size))
        around = sample.ranks(max(middle - reach, 0), min(middle + reach, sample.size))
        start, stop = ladder.focus(float(around[0]), float(around[-1]))
        spans.append(max(stop - start, 1))
    return spans


def _refine_prices(
    ladders: Sequence[Ladder],
    weights: np.ndarray,
    costs: np.ndarray,
    capacity: np.ndarray,
    prices: np.ndarray,
    spans: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Solve linear programs over blocks of ranks that get ever smaller."""
    steps = np.maximum(-(-np.asarray(spans) // (2 * _BLOCKS)), 1)
    low = np.array([ladder.low for ladder in ladders])
    high = np.array([ladder.high for ladder in ladders])
    if prices.any():
        asked = (costs @ prices).tolist()
        center = np.array([x.above(each) for x, each in zip(ladders, asked, strict=True)])
    else:
        center = (low + high) // 2
    for _ in range(_LEVELS):
        edges = np.clip(
            center[:, None] + steps[:, None] * np.arange(-_BLOCKS, _BLOCKS + 1),
            low[:, None],
            high[:, None],
        )
        solved = _solve_block_program(ladders, weights, costs, capacity, prices, edges)
        if solved is None:
            break
        prices, amounts = solved
        center = np.clip(np.floor(amounts + 1e-6).astype(np.int64), low, high)
        cramped = ((center <= edges[:, 0]) & (edges[:, 0] > low)) | (
            (center >= edges[:, -1]) & (edges[:, -1] < high)
        )
        if (steps == 1).all() and not cramped.any():
            break
        steps = np.where(cramped, steps * 4, np.maximum(steps // 4, 1))
    return prices, center


def _solve_block_program(
    ladders: Sequence[Ladder],
    weights: np.ndarray,
    costs: np.ndarray,
    capacity: np.ndarray,
    prices: np.ndarray,
    edges: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Solve one linear program; return prices and how many items of each class are kept.

    It is written relative to the last prices, so that its numbers are of one magnitude however
    narrow the blocks are: maximize the reduced gains minus the price of what is left over.
    """
    asked = costs @ prices
    owners, widths, gains = [], [], []
    for index, (ladder, row) in enumerate(zip(ladders, edges, strict=True)):
        row = np.unique(row)
        if row.size > 1:
            excess = ladder.ranks(int(row[0]), int(row[-1])) - asked[index]
            width = np.diff(row)
            owners.append(np.full(width.size, index))
            widths.append(width)
            gains.append(np.add.reduceat(excess, row[:-1] - row[0]) / width)
    if not owners:
        return None
    owner, width, gain = np.concatenate(owners), np.concatenate(widths), np.concatenate(gains)
    scale = float(np.abs(gain).max()) or 1.0
    rows = costs.max(axis=0)
    matrix = (costs[owner] * weights[owner, None] / rows).T
    room = (capacity - (weights * edges[:, 0]) @ costs) / rows
    slack_price = prices * rows / scale
    unit = np.eye(rows.size)
    result = linprog(
        np.concatenate([-gain * weights[owner] / scale, slack_price, slack_price + 10.0]),
        A_eq=np.hstack([matrix, unit, -unit]),
        b_eq=room,
        bounds=np.vstack(
            [
                np.stack([np.zeros(width.size), width], axis=1),
                np.tile([0, np.inf], (2 * rows.size, 1)),
            ]
        ),
        method="highs",
    )
    if result.status != 0:
        return None
    new = np.maximum(prices - result.eqlin.marginals * scale / rows, 0.0)
    new[new * rows < 1e-12 * max(scale, float((new * rows).max()))] = 0.0
    kept = np.bincount(owner, result.x[: owner.size], minlength=len(ladders))
    return new, edges[:, 0] + kept
