"""The choice of one option for each layer: a multiple-choice knapsack over layers, solved exactly.

Minimize the sum of losses such that the costs add up to no more than the limits, with one option for each
layer: an integer program with a binary variable for each option (Kellerer, Pferschy and Pisinger, "Knapsack
Problems", 2004, chapter 11). HiGHS solves it by branch and bound, and says how far the choice can be from the
best one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array

from fabricfit.errors import InvalidInputError

__all__ = ["Choice", "choose_options", "least_costs", "worthwhile"]

_SECONDS = 60.0
"""Time that a choice may take; what is found until then comes with its gap."""

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
        """How far it can be from the best choice, of the best's loss; 0 where it is proven to be the best."""
        return max(self.loss - self.bound, 0.0) / max(abs(self.bound), 1e-300)


def choose_options(
    losses: Sequence[np.ndarray],
    costs: Sequence[np.ndarray],
    limits: np.ndarray,
    *,
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
    program = _Program(losses, costs, limits, seconds)
    found = program.solve(program.loss)
    if found is None:
        return None
    first, bound = found
    second = program.solve(program.shares, within=float(program.loss @ first))
    places = program.read(first if second is None else second[0])
    total = float(sum(each[place] for each, place in zip(losses, places, strict=True)))
    return Choice(places, total, min(bound * program.unit, total))


class _Program:
    """The integer program of a choice, with the options that are worthwhile."""

    def __init__(
        self,
        losses: Sequence[np.ndarray],
        costs: Sequence[np.ndarray],
        limits: np.ndarray,
        seconds: float,
    ) -> None:
        self._kept = [worthwhile(loss, cost) for loss, cost in zip(losses, costs, strict=True)]
        self._ends = np.cumsum([0, *map(len, self._kept)])
        self._seconds = seconds
        loss = np.concatenate([x[places] for x, places in zip(losses, self._kept, strict=True)])
        cost = np.concatenate([x[places] for x, places in zip(costs, self._kept, strict=True)])
        self.unit = max(float(np.abs(loss).max(initial=0)), 1e-300)
        self.loss = loss / self.unit
        limited = np.isfinite(limits)
        scale = np.where(limited & (limits > 0), np.abs(limits), 1.0)
        scaled = (cost / scale)[:, limited]
        self.shares = scaled.sum(axis=1)
        rows = np.repeat(np.arange(len(self._kept)), np.diff(self._ends))
        one_each = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))
        self._constraints = [LinearConstraint(one_each, 1, 1)]
        if limited.any():
            most = (limits / scale)[limited] + _ROUNDING
            self._constraints.append(LinearConstraint(scaled.T, -np.inf, most))

    def solve(
        self, objective: np.ndarray, within: float | None = None
    ) -> tuple[np.ndarray, float] | None:
        """Minimize something, of choices whose loss is not above another one's; return it with its bound."""
        constraints = list(self._constraints)
        if within is not None:
            most = within * (1 + _ROUNDING) + 1e-12
            constraints.append(LinearConstraint(self.loss[None], -np.inf, most))
        found = milp(
            objective,
            constraints=constraints,
            integrality=np.ones(len(objective)),
            bounds=(0, 1),
            options={"mip_rel_gap": 0.0, "time_limit": self._seconds},
        )
        return None if found.x is None else (found.x, float(found.mip_dual_bound))

    def read(self, chosen: np.ndarray) -> tuple[int, ...]:
        """Return which option of each layer a solution is."""
        bounds = zip(self._ends[:-1], self._ends[1:], self._kept, strict=True)
        return tuple(int(own[np.argmax(chosen[first:last])]) for first, last, own in bounds)


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
