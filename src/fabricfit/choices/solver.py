"""The choice that loses least within limits, by prices for the resources.

At given prices every item can be decided by itself; the sum of what is lost and paid, less the price of
the limits, is a lower bound of every choice that keeps them (Everett, "Generalized Lagrange Multiplier
Method", Operations Research 11, 1963). The prices with the best bound are found by cutting planes
(Kelley, 1960); a little above them the items' own choices keep the limits, and what is left of the
limits is filled item by item. The gap to the bound is returned: it proves how good the choice is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog

from fabricfit.choices.base import Choices, Response
from fabricfit.errors import InfeasibleError

__all__ = ["Solution", "solve_choices"]

_CUTS = 60
_PRECISION = 1e-4
_STEPS = 24


@dataclass(frozen=True)
class Solution:
    """What was chosen.

    Parameters
    ----------
    picks
        One for each layer, for :meth:`Choices.treatment`.
    loss
        What is lost in all.
    used
        Resources that are taken, the fixed ones included, shape ``(M,)``.
    prices
        Loss that a unit of each resource is worth, shape ``(M,)``.
    gap
        Most by which any other choice could lose less.
    """

    picks: list[Any]
    loss: float
    used: np.ndarray
    prices: np.ndarray
    gap: float


def solve_choices(layers: Sequence[Choices], allowed: np.ndarray) -> Solution:
    """Choose for all layers so that limits are kept and as little as possible is lost.

    Parameters
    ----------
    layers
        The layers' choices.
    allowed
        Limits of the resources, shape ``(M,)``; infinite where there is none.

    Raises
    ------
    InfeasibleError
        Even the cheapest choice of every item takes more.
    """
    problem = _Problem(layers, np.asarray(allowed, float))
    free = problem.respond(np.zeros(problem.capacity.size))
    if problem.fits(free):
        return problem.solution(free, np.zeros(problem.capacity.size), problem.loss(free))
    prices, bound = problem.best_prices(free)
    inside, outside = problem.bracket(prices)
    return problem.solution(problem.filled(inside, outside, prices), prices, bound)


class _Problem:
    """Layers and limits, with all resources in units of their limits."""

    def __init__(self, layers: Sequence[Choices], allowed: np.ndarray) -> None:
        self.layers = list(layers)
        self.fixed = sum((layer.fixed for layer in layers), np.zeros(allowed.size))
        self.capacity = allowed - self.fixed
        self.limited = np.isfinite(self.capacity)
        self.floor = [layer.cheapest() for layer in layers]
        least = self.used(self.floor)
        if (least[self.limited] > self.capacity[self.limited] * (1 + 1e-12)).any():
            raise InfeasibleError(
                f"at least {(least + self.fixed).tolist()} is taken, {allowed.tolist()} is allowed."
            )

    def respond(self, prices: np.ndarray) -> list[Response]:
        return [layer.respond(prices) for layer in self.layers]

    def used(self, responses: Sequence[Response]) -> np.ndarray:
        return sum((each.cost.sum(axis=0) for each in responses), np.zeros(self.capacity.size))

    def loss(self, responses: Sequence[Response]) -> float:
        return float(sum(each.loss.sum() for each in responses))

    def fits(self, responses: Sequence[Response]) -> bool:
        over = self.used(responses) > self.capacity * (1 + 1e-12)
        return not (over & self.limited).any()

    def best_prices(self, free: Sequence[Response]) -> tuple[np.ndarray, float]:
        """Find the prices whose bound is best, and the bound."""
        scale = np.where(self.limited, np.maximum(self.used(free), 1.0), np.inf)
        capacity = np.where(self.limited, self.capacity, 0) / scale
        worst = self.loss(self.floor)
        room = np.maximum(capacity - np.where(self.limited, self.used(self.floor), 0) / scale, 1e-6)
        top = np.where(self.limited, max(worst, 1e-300) / room, 0)
        cuts = [self._cut(free, scale), self._cut(self.floor, scale)]
        best, bound = np.zeros(top.size), self.loss(free)
        for _ in range(_CUTS):
            prices, ceiling = _highest(cuts, capacity, top)
            responses = self.respond(prices / scale)
            loss, use = self._cut(responses, scale)
            value = loss + prices @ (use - capacity)
            cuts.append((loss, use))
            if value >= bound:
                best, bound = prices, value
            if ceiling - bound <= _PRECISION * max(abs(ceiling), 1e-300):
                break
        return best / scale, bound

    def _cut(self, responses: Sequence[Response], scale: np.ndarray) -> tuple[float, np.ndarray]:
        return self.loss(responses), self.used(responses) / scale

    def bracket(self, prices: np.ndarray) -> tuple[list[Response], list[Response]]:
        """Return responses that keep the limits, and the nearest found that do not."""
        low, high = 0.0, 1.0
        inside, outside = None, self.respond(prices * low)
        for _ in range(60):
            trial = self.respond(prices * high)
            if self.fits(trial):
                inside = trial
                break
            low, high, outside = high, high * 2, trial
        if inside is None:
            return self.floor, outside
        for _ in range(_STEPS):
            middle = (low + high) / 2
            trial = self.respond(prices * middle)
            if self.fits(trial):
                high, inside = middle, trial
            else:
                low, outside = middle, trial
        return inside, outside

    def filled(
        self, inside: list[Response], outside: list[Response], prices: np.ndarray
    ) -> list[Response]:
        """Take the dearer choice of single items, the best gain first, as long as it fits."""
        gains, owners, items, extras = [], [], [], []
        for index, (low, high) in enumerate(zip(inside, outside, strict=True)):
            better = np.flatnonzero(low.loss > high.loss)
            extra = high.cost[better] - low.cost[better]
            paid = np.maximum(extra @ prices, 0)
            gains.append((low.loss[better] - high.loss[better]) / np.maximum(paid, 1e-300))
            owners.append(np.full(better.size, index))
            items.append(better)
            extras.append(extra)
        take = [np.zeros(each.loss.size, bool) for each in inside]
        left = np.where(self.limited, self.capacity - self.used(inside), np.inf)
        gain, owner, item = map(np.concatenate, (gains, owners, items))
        extra = np.concatenate(extras)
        for position in np.argsort(-gain, kind="stable"):
            if (extra[position] <= left).all():
                left = left - extra[position]
                take[owner[position]][item[position]] = True
        return [
            Response(
                np.where(chosen, high.loss, low.loss),
                np.where(chosen[:, None], high.cost, low.cost),
                layer.merged(low.pick, high.pick, chosen),
            )
            for layer, low, high, chosen in zip(self.layers, inside, outside, take, strict=True)
        ]

    def solution(
        self, responses: Sequence[Response], prices: np.ndarray, bound: float
    ) -> Solution:
        loss = self.loss(responses)
        return Solution(
            [each.pick for each in responses],
            loss,
            self.used(responses) + self.fixed,
            prices,
            max(loss - bound, 0.0),
        )


def _highest(
    cuts: Sequence[tuple[float, np.ndarray]], capacity: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the prices at which the lowest of all cuts is highest, and its height."""
    size = capacity.size
    rows = np.array([np.append(capacity - use, 1.0) for _, use in cuts])
    heights = np.array([loss for loss, _ in cuts])
    unit = max(float(np.abs(heights).max()), 1e-300)
    bounds = [(0, float(limit) / unit) for limit in top] + [(None, None)]
    found = linprog(np.append(np.zeros(size), -1.0), rows, heights / unit, bounds=bounds)
    if found.x is None:
        return top, np.inf
    return found.x[:size] * unit, float(found.x[size]) * unit
