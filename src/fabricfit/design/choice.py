"""The choice of one option for each layer: a multiple-choice knapsack over layers, solved to a stated gap.

Minimize the sum of losses such that the costs add up to no more than the limits, with one option for each
layer (Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004, chapter 11). Prices of the limits, from the
linear relaxation, bound what any choice with an option can lose at least; so does each limit by itself
(:mod:`fabricfit.design.choice_bounds`). Exchanges find a good choice (:mod:`fabricfit.knapsack.exchange`).
A choice that is better by more than the gap has only options whose bounds are small enough: either a layer
has none of them, or HiGHS decides among these few, and finds such a choice or proves that there is none.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from fabricfit.design.choice_bounds import PricedOptions
from fabricfit.design.layered_options import LayeredOptions
from fabricfit.errors import InvalidInputError
from fabricfit.knapsack.exchange import Alternatives
from fabricfit.knapsack.integer_program import BinarySolution, solve_binary

__all__ = ["Choice", "choose_options", "least_costs"]

_SECONDS = 2.0
"""Time that a choice may take; what is found until then comes with its gap."""

_ALTERNATIVES, _LEAST_ALTERNATIVES = 480, 12
"""So many alternatives are exchanged, or so many of each layer where that is more."""

_PRICES = (1e-6, 1e-4, 1e-2, 1.0)
"""Prices of all limits, in parts of the largest loss, at which further options are among them."""

_KICKS = 30
"""How often a few options are changed at random before exchanges begin anew."""

_FEW = 100
"""Options that are left open, in all, up to which a choice is solved to a gap of 0."""

_ROUNDING = 1e-9
"""What floating-point sums may be off by, relatively."""


@dataclass(frozen=True)
class Choice:
    """One option for each layer.

    Parameters
    ----------
    places
        Which option of each layer.
    loss
        Sum of their losses.
    bound
        No choice within the limits has a smaller loss than this.
    resolution
        What is no difference between two losses.
    """

    places: tuple[int, ...]
    loss: float
    bound: float
    resolution: float = 0.0

    @property
    def gap(self) -> float:
        """How far it can be from the best choice, of the best's loss; 0 where it is proven to be the best.

        What floating-point sums may be off by is left out, and so are differences within the resolution.
        """
        ahead = self.loss - self.bound
        if ahead <= self.resolution * (1 + _ROUNDING):
            return 0.0
        return ahead / max(abs(self.bound), 1e-300)


def choose_options(
    options: LayeredOptions,
    limits: np.ndarray,
    *,
    gap: float = 0.0,
    resolution: float = 0.0,
    seconds: float = _SECONDS,
) -> Choice | None:
    """Choose an option for each layer; of equal losses the choice of small costs, in parts of the limits.

    Parameters
    ----------
    options
        Options of layers.
    limits
        Limits of the sums of costs, shape ``(M,)``; infinite where there is none.
    gap
        How much smaller, relatively, the loss of another choice may be, unless a few options are left that
        tell the best one.
    resolution
        What is no difference between two losses.
    seconds
        Time after which the best choice so far is returned, with its gap.

    Returns
    -------
    Choice or None
        None where no choice is within the limits.

    Raises
    ------
    InvalidInputError
        There are not as many limits as costs.
    """
    if limits.shape != options.costs.shape[1:]:
        raise InvalidInputError(
            f"limits must be of shape {options.costs.shape[1:]}, as many as an option has costs. "
            f"Received: shape {limits.shape}"
        )
    if (limits < 0).any():
        return None
    program = _Program(options, limits, time.monotonic() + seconds)
    found = program.choose(gap, resolution)
    if found is None:
        return None
    first, bound = found
    chosen = program.make_cheap(first)
    total, bound = float(options.losses[chosen].sum()), bound * program.unit
    proven = total - bound <= 10 * _ROUNDING * abs(total)
    return Choice(options.read(chosen), total, total if proven else bound, resolution)


class _Program:
    """The integer program of a choice.

    A choice is an array of the places of its options among those of all layers, one for each layer.
    """

    def __init__(self, options: LayeredOptions, limits: np.ndarray, deadline: float) -> None:
        self._options, self._deadline = options, deadline
        self._starts, self._layer = options.starts, options.layer
        self.unit = max(float(np.abs(options.losses).max(initial=0)), 1e-300)
        self._loss = options.losses / self.unit
        limited = np.isfinite(limits)
        self._cost, most = options.costs[:, limited], limits[limited]
        self._scale = np.where(most > 0, most, 1.0)
        self._parts, self._most = self._cost / self._scale, most / self._scale + _ROUNDING

    def choose(self, gap: float, resolution: float) -> tuple[np.ndarray, float] | None:
        """Return a choice and a bound of the loss of any; None where no choice is found."""
        priced = self._price()
        if priced is None:
            return None
        bounds = priced.bound()
        used = self._parts.sum(axis=1)
        keys = [bounds, *(self._loss + price * used for price in _PRICES)]
        chosen = self._exchange(keys, self._loss, self._parts, self._most)
        if chosen is None:
            found = self._solve(np.ones(len(bounds), bool))
            if found.chosen is None:
                return None
            chosen = np.flatnonzero(found.chosen)
        chosen, proven, bounds = self._prove(priced, chosen, bounds, gap, resolution / self.unit)
        loss = self._sum_up(chosen)
        if loss > resolution / self.unit and (bounds <= loss).sum() <= _FEW:
            chosen, exact, bounds = self._prove(priced, chosen, bounds, 0.0, 0.0)
            proven = max(proven, exact)
        least = float(np.minimum.reduceat(bounds, self._starts).max())
        return chosen, max(proven, min(least, self._sum_up(chosen)))

    def _prove(
        self,
        priced: PricedOptions,
        chosen: np.ndarray,
        bounds: np.ndarray,
        gap: float,
        resolution: float,
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Look for better choices, until there is none that is better by more than a gap.

        Returns the best choice, a bound of the loss of any, and what the bounds of the options have become.
        """
        bounds = bounds.copy()
        while True:
            loss = self._sum_up(chosen)
            cutoff = loss - max(gap / (1 + gap) * loss, resolution, _ROUNDING * abs(loss))
            for limit in np.flatnonzero(priced.prices):
                open_ = bounds <= cutoff
                if not self._has_all_layers(open_):
                    return chosen, cutoff, bounds
                own = priced.narrow(open_).bound_by_limit(int(limit))
                bounds[open_] = np.maximum(bounds[open_], own)
            open_ = bounds <= cutoff
            if not self._has_all_layers(open_):
                return chosen, cutoff, bounds
            found = self._solve(open_, cutoff)
            if found.chosen is None:
                return chosen, min(found.bound, cutoff), bounds
            better = np.flatnonzero(found.chosen)
            if not self._sum_up(better) < loss - _ROUNDING * abs(loss):
                return chosen, min(found.bound, loss), bounds
            exchanged = self._exchange([bounds], self._loss, self._parts, self._most, better)
            chosen = better if exchanged is None else exchanged

    def make_cheap(self, chosen: np.ndarray) -> np.ndarray:
        """Return a choice that loses no more than another one, of small costs in parts of the limits."""
        costs = np.column_stack([self._parts, self._loss])
        most = self._sum_up(chosen) * (1 + _ROUNDING) + 1e-12
        own = self._parts.sum(axis=1)
        found = self._exchange([own], own, costs, np.append(self._most, most), chosen)
        return chosen if found is None else found

    def _exchange(
        self,
        keys: Sequence[np.ndarray],
        objective: np.ndarray,
        costs: np.ndarray,
        most: np.ndarray,
        start: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Return the choice that exchanges find among options of small keys; None where none is found."""
        groups = [self._list_alternatives(layers, keys) for layers in self._options.blocks]
        if start is not None:
            for layers, own in zip(self._options.blocks, groups, strict=True):
                own.insert(0, tuple(start[list(layers)].tolist()))
        if not all(groups):
            return None
        members = [list(each) for own in groups for each in own]
        sizes = [len(own) for own in groups]
        alternatives = Alternatives(
            np.repeat(np.arange(len(groups)), sizes),
            np.array([objective[own].sum() for own in members]),
            np.array([costs[own].sum(axis=0) for own in members]),
            most,
        )
        first = np.cumsum(sizes) - sizes
        found = alternatives.search(first, _KICKS if start is None else 0)
        if found is None:
            return None
        return np.sort(np.concatenate([members[place] for place in found]))

    def _list_alternatives(
        self, layers: Sequence[int], keys: Sequence[np.ndarray]
    ) -> list[tuple[int, ...]]:
        """Return alternatives of layers, of one kind each: some of each key, the least of the first ahead."""
        own = [np.flatnonzero(self._layer == layer) for layer in layers]
        count = max(_ALTERNATIVES // len(self._options.blocks), _LEAST_ALTERNATIVES)
        if len(layers) == 1:
            few = [own[0][np.argsort(key[own[0]], kind="stable")] for key in keys]
            extreme = own[0][[*self._parts[own[0]].argmin(axis=0), self._loss[own[0]].argmin()]]
            first = [*few[0][: count // 2], *(each for part in few for each in part[: count // 8])]
            return [(int(each),) for each in dict.fromkeys([*first, *extreme])]
        kinds = set.intersection(*(set(self._options.kinds[places].tolist()) for places in own))
        each = max(int((count / max(len(kinds), 1)) ** (1 / len(layers))), 1)
        found: list[tuple[int, ...]] = []
        for kind in sorted(kinds):
            alike = [places[self._options.kinds[places] == kind] for places in own]
            best = [
                part[np.argsort(keys[0][part], kind="stable")[:each]].tolist() for part in alike
            ]
            found += itertools.product(*best)
        return sorted(found, key=lambda members: float(keys[0][list(members)].sum()))

    def _price(self) -> PricedOptions | None:
        """Return the options with the prices of the linear relaxation; None where it has no solution."""
        rows, values = self._options.list_equations(np.ones(len(self._layer), bool))
        relaxed = linprog(
            self._loss,
            *(self._parts.T, self._most, rows, values, (0, None)),
            options={"time_limit": self._left},
        )
        if relaxed.status == 2:
            return None
        prices, losses = np.zeros(len(self._most)), self._loss
        if relaxed.x is not None:
            links = np.where(values == 0, relaxed.eqlin.marginals, 0.0)
            prices = np.maximum(-relaxed.ineqlin.marginals, 0)
            losses = self._loss - rows.T @ links
        limits = self._most * self._scale
        return PricedOptions(self._layer, losses, self._cost, limits, prices / self._scale)

    def _has_all_layers(self, open_: np.ndarray) -> bool:
        return bool(np.logical_or.reduceat(open_, self._starts).all())

    def _sum_up(self, chosen: np.ndarray) -> float:
        return float(self._loss[chosen].sum())

    def _solve(self, open_: np.ndarray, within: float | None = None) -> BinarySolution:
        """Minimize the loss of choices among some options, where one is within a loss."""
        rows, values = self._options.list_equations(open_)
        found = solve_binary(
            self._loss[open_],
            self._parts[open_].T,
            self._most,
            rows,
            values,
            seconds=self._left,
            within=within,
        )
        if found.chosen is None:
            return found
        chosen = np.zeros(len(open_), bool)
        chosen[open_] = found.chosen
        return BinarySolution(chosen, found.bound)

    @property
    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.1)


def least_costs(costs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the least sum of each cost by itself, shape ``(M,)``: a limit below it cannot be met."""
    total: np.ndarray = np.sum([each.min(axis=0) for each in costs], axis=0)
    return total
