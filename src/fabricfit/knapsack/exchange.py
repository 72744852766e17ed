"""A good choice of options by exchanges: options of one or two layers are changed as long as that helps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Alternatives"]

_EXCESS = 1e6
"""What a choice above a limit counts as, for each time the limit: any loss is better."""

_STEPS = 1000
"""Exchanges at most, of which each improves the choice."""

_LEAST = 1e-12
"""What an exchange has to improve a choice by, in parts of the largest loss."""


@dataclass(frozen=True, eq=False)
class Alternatives:
    """What can be chosen from: one alternative for each block, a layer or several that go together.

    Parameters
    ----------
    block
        Of each alternative its block, from 0 on, shape ``(N,)``.
    loss
        What it loses, shape ``(N,)``.
    costs
        What it costs, in parts of the limits; shape ``(N, M)``.
    most
        The limits of the sums in these parts, shape ``(M,)``.
    """

    block: np.ndarray
    loss: np.ndarray
    costs: np.ndarray
    most: np.ndarray

    def search(self, start: np.ndarray, kicks: int, changed: int = 3) -> np.ndarray | None:
        """Return the best choice that exchanges find, from a start and from changes of what is found.

        Parameters
        ----------
        start
            The alternative of each block, within the limits or not.
        kicks
            How often a few blocks of the best choice are changed at random, always in the same way.
        changed
            How many blocks that are.

        Returns
        -------
        array of int, or None
            The alternative of each block; None where no choice within the limits is found.
        """
        rng = np.random.default_rng(0)
        members = [np.flatnonzero(self.block == block) for block in range(len(start))]
        best = self.improve(start)
        for _ in range(kicks if len(start) > 2 else 0):
            kicked = best.copy()
            for block in rng.choice(len(start), min(changed, len(start)), replace=False):
                kicked[block] = rng.choice(members[block])
            found = self.improve(kicked)
            if self._score(found) < self._score(best):
                best = found
        return best if self.fits(best) else None

    def improve(self, start: np.ndarray) -> np.ndarray:
        """Return what is left where no exchange of one or two blocks makes a choice better."""
        chosen = start.copy()
        for _ in range(_STEPS):
            current = chosen[self.block]
            losses = self.loss - self.loss[current]
            costs = self.costs - self.costs[current]
            room = self.most - self.costs[chosen].sum(axis=0)
            before = _EXCESS * np.maximum(-room, 0).sum() - _LEAST
            single = losses + _EXCESS * np.maximum(costs - room, 0).sum(axis=1)
            place = int(single.argmin())
            if single[place] < before:
                chosen[self.block[place]] = place
                continue
            pairs = losses[:, None] + losses
            for cost, left in zip(costs.T, room, strict=True):
                if 2 * cost.max() > left:
                    over = cost[:, None] + (cost - left)
                    pairs += _EXCESS * np.maximum(over, 0, out=over)
            pairs[self._alike] = np.inf
            first, second = np.unravel_index(int(pairs.argmin()), pairs.shape)
            if not pairs[first, second] < before:
                break
            chosen[self.block[[first, second]]] = first, second
        return chosen

    @cached_property
    def _alike(self) -> np.ndarray:
        """Whether two alternatives are of one block, shape ``(N, N)``."""
        alike: np.ndarray = self.block[:, None] == self.block
        return alike

    def fits(self, chosen: np.ndarray) -> bool:
        """Whether a choice is within the limits."""
        return bool((self.costs[chosen].sum(axis=0) <= self.most).all())

    def _score(self, chosen: np.ndarray) -> float:
        over = np.maximum(self.costs[chosen].sum(axis=0) - self.most, 0).sum()
        return float(self.loss[chosen].sum() + _EXCESS * over)
