"""How much every choice loses against the bound of the linear relaxation.

With prices ``lam`` and ``price[l] = costs[l] @ lam``, the value of any counts k is

    bound - value(k) = sum_l loss_l(k_l) + lam @ slack(k),    slack(k) = capacity - k @ costs,

where ``loss_l(k)`` sums how far the items between the best count of class *l* and k are from their
price: convex, never negative. Both terms are sums of small differences and so are known to rounding
of the differences, not of the total.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabricfit.knapsack.ladder import Ladder

__all__ = ["Core", "Moves", "Relaxation"]

_FAR = 1e18


@dataclass(frozen=True, eq=False)
class Moves:
    """What it loses to keep a few more or fewer items of one class.

    Parameters
    ----------
    offsets
        Consecutive whole numbers: items more than at the center.
    losses
        The loss of each; convex, the least is 0.
    open_below, open_above
        Whether the class goes on beyond the first and last offset.
    """

    offsets: np.ndarray
    losses: np.ndarray
    open_below: bool
    open_above: bool


@dataclass(frozen=True, eq=False)
class Core:
    """A grouped knapsack around a center that fits.

    Parameters
    ----------
    ladders
        The values of each class.
    costs
        Shape ``(L, M)``; of an integer type where all costs are whole.
    prices
        Shape ``(M,)``.
    center
        Items kept of each class, shape ``(L,)``.
    slack
        What the center leaves over, shape ``(M,)``, not negative.
    """

    ladders: Sequence[Ladder]
    costs: np.ndarray
    prices: np.ndarray
    center: np.ndarray
    slack: np.ndarray

    def moves(self, index: int, reach: int) -> Moves:
        """Return the moves of one class, up to ``reach`` items either way."""
        ladder, middle = self.ladders[index], int(self.center[index])
        price = float(self.costs[index] @ self.prices)
        while True:
            first, last = max(middle - reach, ladder.low), min(middle + reach, ladder.high)
            around = ladder.ranks(first, last) - price if last > first else np.empty(0)
            below, above = first > ladder.low, last < ladder.high
            noise = 1e-12 * (price + 1e-300)
            if not ((below and around[0] < -noise) or (above and around[-1] > noise)):
                break
            reach *= 4
        fewer = np.cumsum(around[: middle - first][::-1])[::-1]
        more = -np.cumsum(around[middle - first :])
        losses = np.concatenate([fewer, [0.0], more])
        offsets = np.arange(first - middle, last - middle + 1)
        return Moves(offsets, losses - losses.min(), below, above)


class Relaxation:
    """Lower bounds of what the classes not yet decided will lose.

    For one resource at a time, those classes and the slack together have to take up what is left of
    it. Taking the cheapest fractions of items first (Dantzig) is a convex, piecewise linear bound.

    Parameters
    ----------
    moves
        The moves of every class.
    costs
        Shape ``(L, M)``.
    prices
        Shape ``(M,)``.
    """

    def __init__(self, moves: Sequence[Moves], costs: np.ndarray, prices: np.ndarray) -> None:
        self._costs = costs.astype(np.float64)
        self._prices = prices
        self._margins = 1e-9 * self._costs.max(axis=0, initial=0)
        self._rest = np.array([int(m.offsets[np.argmin(m.losses)]) for m in moves], np.int64)
        self._sides = (
            [self._list_moves(moves, resource, 1) for resource in range(prices.size)],
            [self._list_moves(moves, resource, -1) for resource in range(prices.size)],
        )

    def _list_moves(
        self, moves: Sequence[Moves], resource: int, sign: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """List (slope, width, class) of all moves that use more (or less), cheapest first."""
        slopes, widths, owners = [], [], []
        for index, move in enumerate(moves):
            cost = self._costs[index, resource]
            if not cost:
                continue
            start = int(np.argmin(move.losses))
            losses = move.losses[start:] if sign > 0 else move.losses[start::-1]
            slope = np.maximum.accumulate(np.maximum(np.diff(losses), 0) / cost)
            width = np.full(slope.size, cost)
            if move.open_above if sign > 0 else move.open_below:
                slope = np.append(slope, slope[-1] if slope.size else 0.0)
                width = np.append(width, _FAR)
            slopes.append(slope)
            widths.append(width)
            owners.append(np.full(slope.size, index))
        if not slopes:
            return np.empty(0), np.empty(0), np.empty(0, np.int64)
        slope = np.concatenate(slopes)
        order = np.argsort(slope, kind="stable")
        return slope[order], np.concatenate(widths)[order], np.concatenate(owners)[order]

    def curve(self, resource: int, undecided: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bound's corners: what is left of a resource, and the least loss.

        Parameters
        ----------
        resource
            Index of the resource.
        undecided
            Which classes may still move, shape ``(L,)``, bool.
        """
        halves = []
        for sign, side in ((1, self._sides[0]), (-1, self._sides[1])):
            slope, width, owner = side[resource]
            chosen = undecided[owner]
            slope, width = slope[chosen], width[chosen]
            if sign > 0:
                count = int(np.searchsorted(slope, self._prices[resource]))
                slope = np.append(slope[:count], self._prices[resource])
                width = np.append(width[:count], _FAR)
            halves.append((np.cumsum(width), np.cumsum(width * slope)))
        (up, up_loss), (down, down_loss) = halves
        shift = float((self._rest * undecided) @ self._costs[:, resource])
        place = np.concatenate([-down[::-1], [0.0], up])
        place[0] -= self._margins[resource]
        return place + shift, np.concatenate([down_loss[::-1], [0.0], up_loss])

    def bound(self, left: np.ndarray, undecided: np.ndarray) -> np.ndarray:
        """Return the least further loss for each row of what is left of the resources.

        Parameters
        ----------
        left
            Capacity that the decided classes leave over, relative to the center, shape ``(n, M)``.
        undecided
            Which classes may still move, shape ``(L,)``, bool.

        Returns
        -------
        array of shape ``(n,)``
            ``inf`` where the undecided classes cannot make room.
        """
        least = np.zeros(len(left))
        for resource in range(left.shape[1]):
            place, loss = self.curve(resource, undecided)
            np.maximum(least, np.interp(left[:, resource], place, loss, left=np.inf), out=least)
        return least
