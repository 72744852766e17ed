"""What any choice with an option loses at least, by prices of the limits and by one limit after the other.

At prices of the limits a choice loses no less than the sum of the least priced losses (Lagrangian
relaxation); the linear relaxation's prices make that sum largest. With one limit kept as it is and the others
priced, dynamic programming over whole units of its costs says more (Kellerer, Pferschy and Pisinger,
"Knapsack Problems", 2004, section 11.5). Costs are rounded down to these units, so that the bounds hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PricedOptions"]

_UNITS = 1024
"""Units of a limit, unless its costs are whole numbers of a limit of up to…"""

_WHOLE = 4096


@dataclass(frozen=True, eq=False)
class PricedOptions:
    """Options of layers with their priced losses.

    Parameters
    ----------
    layer
        Of each option its layer, ascending from 0 on without a gap, shape ``(N,)``.
    losses
        Losses of the options, shape ``(N,)``; whatever is added for
        equations adds up to 0 in each choice.
    costs
        Shape ``(N, M)``, at least 0.
    limits
        Shape ``(M,)``, at least 0.
    prices
        Of the limits, shape ``(M,)``, at least 0.
    """

    layer: np.ndarray
    losses: np.ndarray
    costs: np.ndarray
    limits: np.ndarray
    prices: np.ndarray

    def narrow(self, open_: np.ndarray) -> PricedOptions:
        """Return some of the options, with at least one of each layer."""
        return PricedOptions(
            self.layer[open_], self.losses[open_], self.costs[open_], self.limits, self.prices
        )

    @property
    def _starts(self) -> np.ndarray:
        return np.flatnonzero(np.diff(self.layer, prepend=-1))

    def bound(self) -> np.ndarray:
        """Return what a choice with each option loses at least, all limits priced."""
        priced = self.losses + self.costs @ self.prices
        least = np.minimum.reduceat(priced, self._starts)
        bound: np.ndarray = least.sum() - self.limits @ self.prices + priced - least[self.layer]
        return bound

    def bound_by_limit(self, limit: int) -> np.ndarray:
        """Return the same with one limit kept and the others priced; infinite where the limit is exceeded."""
        prices = self.prices.copy()
        prices[limit] = 0.0
        priced = self.losses + self.costs @ prices
        units, room = self._count_units(limit)
        parts = list(
            zip(np.split(priced, self._starts[1:]), np.split(units, self._starts[1:]), strict=True)
        )
        before, behind = [np.zeros(room + 1)], [np.zeros(room + 1)]
        for part in parts[:-1]:
            before.append(_add_layer(before[-1], *part))
        for part in parts[:0:-1]:
            behind.append(_add_layer(behind[-1], *part))
        found = [
            _bound_layer(*part, first, second)
            for part, first, second in zip(parts, before, behind[::-1], strict=True)
        ]
        bound: np.ndarray = np.concatenate(found) - self.limits @ prices
        return bound

    def _count_units(self, limit: int) -> tuple[np.ndarray, int]:
        """Return the costs of a limit in whole units, rounded down, and how many units there are."""
        costs, most = self.costs[:, limit], float(self.limits[limit])
        if most < _WHOLE and (costs == np.floor(costs)).all():
            return costs.astype(np.int64), int(most)
        each = most / _UNITS
        # Rounding of the quotient must not make a cost a unit more than it is.
        units = np.floor(np.minimum(costs / each, 2.0 * _UNITS) * (1 - 1e-12))
        return units.astype(np.int64), _UNITS


def _add_layer(least: np.ndarray, priced: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the least priced loss within each number of units, with one layer more."""
    found = np.full_like(least, np.inf)
    best = np.inf
    for place in np.lexsort((priced, units)):
        unit, loss = int(units[place]), float(priced[place])
        if unit < len(least) and loss < best:
            best = loss
            np.minimum(found[unit:], least[: len(least) - unit] + loss, out=found[unit:])
    return found


def _bound_layer(
    priced: np.ndarray, units: np.ndarray, before: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """Return the least priced loss with each option of a layer, and those of the layers around it."""
    found = np.full(len(priced), np.inf)
    for unit in np.unique(units[units < len(before)]):
        left = len(before) - int(unit)
        around = float((before[:left] + behind[left - 1 :: -1]).min())
        own = units == unit
        found[own] = priced[own] + around
    return found
