"""The choice that loses least within limits, by prices for the resources.

At given prices every item can be decided by itself; the sum of what is lost and paid, less the price of
the limits, is a lower bound of every choice that keeps them (Everett, "Generalized Lagrange Multiplier
Method", Operations Research 11, 1963). The prices with the best bound are found by cutting planes
(Kelley, 1960); a little above them the items' own choices keep the limits, and what is left of the
limits is filled item by item. The gap to the bound is returned: it proves how good the choice is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog

from fabricfit.choices.base import Choices, Response
from fabricfit.errors import InfeasibleError

__all__ = ["ChoiceSolver", "Solution", "solve_choices"]

_CUTS = 60
"""Cuts after which the best prices found so far are used."""

_PRECISION = 1e-4
"""Relative gap between the bound and its ceiling at which prices count as best."""

_KNOWN = 4
"""Responses at the last prices that are kept, to choose from before others are looked for."""

_STEPS = 40
"""Factors of the prices that are tried at most."""

_FIRST_STEP = 0.01
"""First step of a factor of the prices up or down; each further one is four times as large."""

_HIGHEST_FACTOR = 1e9
"""Where nothing keeps the limits at so many times the best prices, the least of everything is chosen."""

_MIXED = _PRECISION / 4
"""Part of the loss that choices at two factors of the prices, mixed item by item, may lose in addition."""


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
        Resources that are used, the fixed ones included, shape ``(M,)``.
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
        Even the cheapest choice of every item uses more.
    """
    return ChoiceSolver(layers).solve(allowed)


class ChoiceSolver:
    """Solves for several limits in turn; what was learned of the prices serves all of them.

    Parameters
    ----------
    layers
        The layers' choices.
    """

    def __init__(self, layers: Sequence[Choices]) -> None:
        self.layers = list(layers)
        self.fixed = sum((layer.fixed for layer in layers), 0.0 * layers[0].fixed)
        self.floor = [layer.cheapest() for layer in layers]
        self.free = self.respond(np.zeros(self.fixed.size))
        # What responses lose and use bounds the best loss at any prices and limits: see _find_highest_price.
        self._cuts = [self._measure(self.free), self._measure(self.floor)]
        self._known: deque[list[Response]] = deque(maxlen=_KNOWN)

    @property
    def least(self) -> np.ndarray:
        """Usage of the cheapest choice of every item, shape ``(M,)``."""
        return self.used(self.floor) + self.fixed

    def solve(self, allowed: np.ndarray) -> Solution:
        """Choose within limits; see :func:`solve_choices`."""
        allowed = np.asarray(allowed, float)
        if (self.least > allowed * (1 + 1e-12)).any():
            raise InfeasibleError(
                f"at least {self.least.tolist()} is used, {allowed.tolist()} is allowed."
            )
        capacity = allowed - self.fixed
        if _fits_capacity(self.used(self.free), capacity):
            return self._make_solution(self.free, np.zeros(capacity.size), self.loss(self.free))
        prices, bound = self._find_best_prices(capacity)
        best = self._fill_capacity(self.floor, self.free, prices, capacity)
        for inside, outside in self._bracket_price(prices, capacity):
            found = self._fill_capacity(inside, outside, prices, capacity)
            best = min(best, found, key=self.loss)
            if self.loss(best) - bound <= _PRECISION * self.loss(best):
                break
        return self._make_solution(best, prices, bound)

    def respond(self, prices: np.ndarray) -> list[Response]:
        """Return every layer's response to prices."""
        return [layer.respond(prices) for layer in self.layers]

    def used(self, responses: Sequence[Response]) -> np.ndarray:
        """Return the usage of responses, without what is fixed, shape ``(M,)``."""
        return sum((each.cost.sum(axis=0) for each in responses), np.zeros(self.fixed.size))

    def loss(self, responses: Sequence[Response]) -> float:
        """Return what responses lose."""
        return float(sum(each.loss.sum() for each in responses))

    def _measure(self, responses: Sequence[Response]) -> tuple[float, np.ndarray]:
        return self.loss(responses), self.used(responses)

    def _try_prices(self, prices: np.ndarray) -> list[Response]:
        """Respond to prices, and note what was learned."""
        responses = self.respond(prices)
        self._cuts.append(self._measure(responses))
        self._known.append(responses)
        return responses

    def _find_best_prices(self, capacity: np.ndarray) -> tuple[np.ndarray, float]:
        """Find the prices whose bound is best, and the bound."""
        limited = np.isfinite(capacity)
        scale = np.where(limited, np.maximum(self.used(self.free), 1.0), np.inf)
        capacity = np.where(limited, capacity, 0) / scale
        room = np.maximum(capacity - self.used(self.floor) / scale, 1e-6)
        top = np.where(limited, max(self.loss(self.floor), 1e-300) / room, 0)
        best: np.ndarray = np.zeros(top.size)
        bound = self.loss(self.free)
        for _ in range(_CUTS):
            cuts = [(loss, use / scale) for loss, use in self._cuts]
            prices, ceiling = _find_highest_price(cuts, capacity, top, bound)
            if ceiling - bound <= _PRECISION * max(abs(ceiling), 1e-300):
                break
            loss, use = self._measure(self._try_prices(prices / scale))
            value = loss + float(prices @ (use / scale - capacity))
            if value >= bound:
                best, bound = prices, value
        return best / scale, bound

    def _bracket_price(
        self, prices: np.ndarray, capacity: np.ndarray
    ) -> Iterator[tuple[list[Response], list[Response]]]:
        """Yield responses that keep the limits, and others near them that do not, nearer each time.

        The first ones are known, the others at two factors of the prices. What is chosen for one item at the
        lower factor and for another one at the higher costs no more at either than the difference of the
        factors allows, so that the search ends where that is next to nothing.
        """
        known = sorted(self._known, key=lambda each: self.loss(each) + self.used(each) @ prices)
        fitting = [each for each in known if self._measure_excess(each, capacity) <= 0]
        others = [each for each in known if self._measure_excess(each, capacity) > 0]
        if fitting and others:
            yield fitting[0], others[0]
        inside, outside = None, self.free
        low, high, factor, step = 0.0, np.inf, 1.0, _FIRST_STEP
        excess = {low: self._measure_excess(outside, capacity)}
        width = np.inf
        for _ in range(_STEPS):
            trial = self._try_prices(prices * factor)
            excess[factor] = self._measure_excess(trial, capacity)
            if excess[factor] > 0:
                low, outside = factor, trial
            else:
                high, inside = factor, trial
            if inside is None:
                if factor > _HIGHEST_FACTOR:
                    break
                factor, step = factor * (1 + step), 4 * step
                continue
            yield inside, outside
            if low == 0.0 and step < 1:
                factor, step = factor / (1 + step), 4 * step
                continue
            if (1 - low / high) * (self.loss(inside) - self.loss(outside)) <= (
                _MIXED * self.loss(inside)
            ):
                break
            part = excess[low] / (excess[low] - excess[high])
            if high - low > width / 2:  # the curve has a jump
                part = 0.5
            width = high - low
            factor = low + width * float(np.clip(part, 0.05, 0.95))

    def _measure_excess(self, responses: Sequence[Response], capacity: np.ndarray) -> float:
        """Return how much more than a limit is used at most, in parts of what could be saved of it."""
        over = self.used(responses) - capacity * (1 + 1e-12)
        saved = np.maximum(self.used(self.free) - self.used(self.floor), 1e-12)
        return float(np.max(np.where(np.isfinite(over), over / saved, -1.0)))

    def _fill_capacity(
        self,
        inside: list[Response],
        outside: list[Response],
        prices: np.ndarray,
        capacity: np.ndarray,
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
        use_second = [np.zeros(each.loss.size, bool) for each in inside]
        left = capacity - self.used(inside)
        gain, owner, item = map(np.concatenate, (gains, owners, items))
        extra = np.concatenate(extras)
        for position in np.argsort(-gain, kind="stable"):
            if (extra[position] <= left).all():
                left = left - extra[position]
                use_second[owner[position]][item[position]] = True
        return [
            Response(
                np.where(chosen, high.loss, low.loss),
                np.where(chosen[:, None], high.cost, low.cost),
                layer.merged(low.pick, high.pick, chosen),
            )
            for layer, low, high, chosen in zip(
                self.layers, inside, outside, use_second, strict=True
            )
        ]

    def _make_solution(
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


def _fits_capacity(used: np.ndarray, capacity: np.ndarray) -> bool:
    return bool((used <= capacity * (1 + 1e-12)).all())


def _find_highest_price(
    cuts: Sequence[tuple[float, np.ndarray]], capacity: np.ndarray, top: np.ndarray, bound: float
) -> tuple[np.ndarray, float]:
    """Return the prices at which the lowest of all cuts is highest, and its height."""
    size = capacity.size
    rows = np.array([np.append(capacity - use, 1.0) for _, use in cuts])
    heights = np.array([loss for loss, _ in cuts])
    # In units in which what is looked for is about 1, so that the solver's tolerance does not matter.
    unit = max(abs(bound), 1e-6 * float(np.abs(heights).max()), 1e-300)
    bounds = [(0, float(limit) / unit) for limit in top] + [(None, None)]
    found = linprog(np.append(np.zeros(size), -1.0), rows, heights / unit, bounds=bounds)
    if found.x is None:
        return top, np.inf
    return found.x[:size] * unit, float(found.x[size]) * unit
