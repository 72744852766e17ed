"""The choice of one option for each layer: a multiple-choice knapsack over layers, solved exactly.

Minimize the sum of losses such that the costs add up to no more than the limits, with one option for each
layer: an integer program with a binary variable for each option (Kellerer, Pferschy and Pisinger, "Knapsack
Problems", 2004, chapter 11). Prices of the limits, from the linear relaxation, bound what any choice with an
option can lose at least. A choice among the options of the least bounds shows which others can be left out;
HiGHS solves both by branch and bound, and says how far the choice can be from the best one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from fabricfit.errors import InvalidInputError

__all__ = ["Choice", "choose_options", "least_costs", "worthwhile"]

_SECONDS = 2.0
"""Time that a choice may take; what is found until then comes with its gap."""

_FIRST, _NEAR = 6, 1e-3
"""So many options of each layer are in a first choice, and so near to the best of them it is."""

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
    """

    places: tuple[int, ...]
    loss: float
    bound: float

    @property
    def gap(self) -> float:
        """How far it can be from the best choice, of the best's loss; 0 where it is proven to be the best.

        What floating-point sums may be off by is left out.
        """
        return max(self.loss - self.bound, 0.0) / max(abs(self.bound), 1e-300)


def choose_options(
    losses: Sequence[np.ndarray],
    costs: Sequence[np.ndarray],
    limits: np.ndarray,
    *,
    kinds: Sequence[np.ndarray] | None = None,
    together: Sequence[Sequence[int]] = (),
    seconds: float = _SECONDS,
) -> Choice | None:
    """Choose an option for each layer; of equal losses the choice of small costs, in parts of the limits.

    Parameters
    ----------
    losses
        Of each layer the losses of its options, shape ``(n_options,)``.
    costs
        Of each layer the costs of its options, shape ``(n_options, M)``, at least 0.
    limits
        Limits of the sums, shape ``(M,)``; infinite where there is none.
    kinds
        Of each layer the kinds of its options, whole numbers.
    together
        Places of layers whose options must be of one kind; disjoint.
    seconds
        Time after which the best choice so far is returned, with its gap.

    Returns
    -------
    Choice or None
        None where no choice is within the limits.

    Raises
    ------
    InvalidInputError
        A layer has no option, or numbers do not match.
    """
    _check(losses, costs, limits)
    own = kinds or [np.zeros(len(loss), int) for loss in losses]
    program = _Program(losses, costs, limits, own, together, seconds)
    found = program.choose()
    if found is None:
        return None
    first, bound = found
    places = program.read(program.make_cheap(first))
    total = float(sum(each[place] for each, place in zip(losses, places, strict=True)))
    bound *= program.unit
    proven = total - bound <= 10 * _ROUNDING * abs(total)
    return Choice(places, total, total if proven else bound)


class _Program:
    """The integer program of a choice, with the options that are worthwhile."""

    def __init__(
        self,
        losses: Sequence[np.ndarray],
        costs: Sequence[np.ndarray],
        limits: np.ndarray,
        kinds: Sequence[np.ndarray],
        together: Sequence[Sequence[int]],
        seconds: float,
    ) -> None:
        bound = {place for places in together for place in places}
        self._kept = [
            _worthwhile_of_kinds(loss, cost, kind if place in bound else np.zeros_like(kind))
            for place, (loss, cost, kind) in enumerate(zip(losses, costs, kinds, strict=True))
        ]
        self._kind = np.concatenate([x[own] for x, own in zip(kinds, self._kept, strict=True)])
        self._together = together
        sizes = np.array([len(each) for each in self._kept])
        self._starts, self._layer = (
            np.cumsum(sizes) - sizes,
            np.repeat(np.arange(len(sizes)), sizes),
        )
        self._deadline = time.monotonic() + seconds
        loss = np.concatenate([x[places] for x, places in zip(losses, self._kept, strict=True)])
        cost = np.concatenate([x[places] for x, places in zip(costs, self._kept, strict=True)])
        self.unit = max(float(np.abs(loss).max(initial=0)), 1e-300)
        self._loss = loss / self.unit
        limited = np.isfinite(limits)
        scale = np.where(limited & (limits > 0), np.abs(limits), 1.0)
        self._costs, self._most = (cost / scale)[:, limited], (limits / scale)[limited] + _ROUNDING
        self._bounds = np.zeros(len(loss))

    def choose(self) -> tuple[np.ndarray, float] | None:
        """Return a choice of the least loss and a bound of that loss; None where there is no choice."""
        least = self._bound_losses()
        if least is None:
            return None
        order = np.lexsort((self._bounds, self._layer))
        first = np.zeros(len(order), bool)
        first[order[np.arange(len(order)) - self._starts[self._layer] < _FIRST]] = True
        near = self._solve(self._loss, first, gap=_NEAR)
        open_ = self._find_open(np.inf if near is None else float(self._loss @ near[0]))
        found = self._solve(self._loss, open_)
        if found is None:  # out of time
            return None if near is None else (near[0], least)
        return found[0], max(found[1], least)

    def make_cheap(self, chosen: np.ndarray) -> np.ndarray:
        """Return a choice that loses no more than another one, of the least costs in parts of the limits."""
        most = float(self._loss @ chosen) * (1 + _ROUNDING) + 1e-12
        found = self._solve(self._costs.sum(axis=1), self._find_open(most), most)
        return chosen if found is None else found[0]

    def _bound_losses(self) -> float | None:
        """Bound what any choice, and any with each option, loses at least, by prices of the limits."""
        rows, values = self._list_equations(np.ones(len(self._layer), bool))
        relaxed = linprog(
            self._loss,
            *(self._costs.T, self._most, rows, values, (0, None)),
            options={"time_limit": self._left},
        )
        if relaxed.status == 2:
            return None
        prices, priced = np.zeros(len(self._most)), self._loss
        if relaxed.x is not None:
            links = np.where(values == 0, relaxed.eqlin.marginals, 0.0)
            prices = np.maximum(-relaxed.ineqlin.marginals, 0)
            priced = self._loss + self._costs @ prices - rows.T @ links
        best = np.minimum.reduceat(priced, self._starts)
        least = float(best.sum() - self._most @ prices)
        self._bounds = least + priced - best[self._layer]
        return least

    def _find_open(self, loss: float) -> np.ndarray:
        """Return which options a choice of no more than some loss can have."""
        found: np.ndarray = self._bounds <= loss + 1e-12 + _ROUNDING * abs(loss)
        return found

    def _list_equations(self, open_: np.ndarray) -> tuple[csr_array, np.ndarray]:
        """Return equations of options: one option for each layer, and one kind where they go together."""
        layers, kinds = self._layer[open_], self._kind[open_]
        rows = [layers == layer for layer in range(len(self._starts))]
        for first, *others in self._together:
            own = np.isin(layers, (first, *others))
            rows += [
                np.where(kinds == kind, 1.0 * (layers == first) - (layers == other), 0.0)
                for kind in np.unique(kinds[own])
                for other in others
            ]
        values = np.repeat([1.0, 0.0], [len(self._starts), len(rows) - len(self._starts)])
        return csr_array(np.array(rows, float)), values

    def _solve(
        self,
        objective: np.ndarray,
        open_: np.ndarray,
        within: float | None = None,
        gap: float = 0.0,
    ) -> tuple[np.ndarray, float] | None:
        """Minimize something of choices among some options, whose loss is within a limit; with its bound."""
        rows, values = self._list_equations(open_)
        constraints = [LinearConstraint(rows, values, values)]
        if len(self._most):
            constraints.append(LinearConstraint(self._costs[open_].T, -np.inf, self._most))
        if within is not None:
            constraints.append(LinearConstraint(self._loss[open_][None], -np.inf, within))
        found = milp(
            objective[open_],
            constraints=constraints,
            integrality=np.ones(int(open_.sum())),
            bounds=(0, 1),
            # Where HiGHS presolves, it prints to standard output when it repairs a rounded solution.
            options={"mip_rel_gap": gap, "time_limit": self._left, "presolve": False},
        )
        if found.x is None:
            return None
        chosen = np.zeros(len(open_))
        chosen[open_] = found.x
        return chosen, float(found.mip_dual_bound)

    @property
    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.1)

    def read(self, chosen: np.ndarray) -> tuple[int, ...]:
        """Return which option of each layer a solution is."""
        parts = np.split(chosen, self._starts[1:])
        return tuple(int(own[np.argmax(part)]) for part, own in zip(parts, self._kept, strict=True))


def worthwhile(loss: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return the options of a layer that no other one equals or beats in loss and every cost.

    Parameters
    ----------
    loss, cost
        Losses of the options, shape ``(n_options,)``, and costs, shape ``(n_options, M)``.
    """
    order = np.lexsort((*cost.T, loss))
    kept: list[int] = []
    seen = np.zeros((0, cost.shape[1]))
    for place in order:
        if not len(seen) or not (seen <= cost[place]).all(axis=1).any():
            kept.append(int(place))
            seen = np.vstack([seen, cost[place]])
    return np.array(kept)


def _worthwhile_of_kinds(loss: np.ndarray, cost: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Return the options that are worthwhile among those of their kind."""
    own = [np.flatnonzero(kind == each) for each in np.unique(kind)]
    return np.concatenate([places[worthwhile(loss[places], cost[places])] for places in own])


def least_costs(costs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the least sum of each cost by itself, shape ``(M,)``: a limit below it cannot be met."""
    total: np.ndarray = np.sum([each.min(axis=0) for each in costs], axis=0)
    return total


def _check(losses: Sequence[np.ndarray], costs: Sequence[np.ndarray], limits: np.ndarray) -> None:
    if len(losses) != len(costs) or not losses:
        raise InvalidInputError(
            "there must be losses and costs of at least one layer, and of as many layers. "
            f"Received: {len(losses)} and {len(costs)}"
        )
    for layer, (loss, cost) in enumerate(zip(losses, costs, strict=True)):
        if loss.ndim != 1 or not len(loss) or cost.shape != (len(loss), len(limits)):
            raise InvalidInputError(
                f"layer {layer} must have losses of shape (n,) and costs of shape (n, {len(limits)}), n at "
                f"least 1. Received: shapes {loss.shape} and {cost.shape}"
            )
