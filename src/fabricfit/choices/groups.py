"""Groups of one layer, each kept or removed."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.choices.base import Response, Treatment
from fabricfit.choices.ranking import GroupLosses
from fabricfit.description.grouping import Grouping

__all__ = ["GroupChoices"]


class GroupChoices:
    """Keep a group, or prune or share it, whichever loses less.

    Parameters
    ----------
    kernel
        The weights.
    grouping
        How they are cut into groups.
    losses
        What each group would lose.
    saved
        What giving up one group saves, shape ``(M,)``, or each of them, shape ``(n_groups, M)``.
    fixed
        Usage of the layer without any group, shape ``(M,)``.
    minimum_groups
        Groups that stay in any case: those that would lose most.
    """

    def __init__(
        self,
        kernel: np.ndarray,
        grouping: Grouping,
        losses: GroupLosses,
        saved: np.ndarray,
        fixed: np.ndarray,
        minimum_groups: int = 1,
    ) -> None:
        self.fixed = np.asarray(fixed, float)
        self.saved = np.asarray(saved, float).reshape(-1, np.shape(saved)[-1])
        self.losses = losses
        self._kernel, self._grouping = kernel, grouping
        self._held = np.zeros(losses.loss.size, bool)
        self._held[np.argsort(-losses.loss, kind="stable")[:minimum_groups]] = True

    def respond(self, prices: np.ndarray) -> Response:
        """Keep what loses more than its resources are worth: not what is zero, though it uses nothing."""
        return self._make_response(self._held | (self.losses.loss > self.saved @ prices))

    def cheapest(self) -> Response:
        """Keep no more than must stay."""
        return self._make_response(self._held | (~self.saved.any(axis=1) & (self.losses.loss > 0)))

    def merged(self, first: Any, second: Any, use_second: np.ndarray) -> Any:
        """Mix two picks."""
        return np.where(use_second, second, first)

    def treatment(self, pick: Any) -> Treatment:
        """Spell out which weights stay, and the means of those that are shared."""
        return Treatment.of_groups(self._kernel, self._grouping, pick, self.losses.shared)

    def _make_response(self, keep: np.ndarray) -> Response:
        return Response(np.where(keep, 0.0, self.losses.loss), keep[:, None] * self.saved, keep)
