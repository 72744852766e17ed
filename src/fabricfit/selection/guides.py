"""What guides a choice until what it really uses keeps the limits: moving limits, and guesses of usage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabricfit.choices import Treatment
from fabricfit.description.attributes import LayerAttributes
from fabricfit.objectives.base import Objective

__all__ = ["NEAR", "Guess", "MovingLimits"]

NEAR = 0.005
"""Fraction of a limit up to which it counts as used up."""

_LEAST_STEP = 0.001
"""Fraction of a limit by which the next round at least goes down."""


class Guess:
    """What treated layers use: counted, or guessed and corrected by what was counted where counting is slow.

    Parameters
    ----------
    objective, attributes
        What counts, and layer -> attributes.
    kernels
        Layer -> weights before any treatment.
    """

    def __init__(
        self,
        objective: Objective,
        attributes: Mapping[str, LayerAttributes],
        kernels: Mapping[str, np.ndarray],
    ) -> None:
        self._objective, self._attributes, self._kernels = objective, attributes, kernels
        self._factors: dict[str, np.ndarray] = {}

    @property
    def is_rough(self) -> bool:
        """Whether usage is guessed, and what was chosen is to be counted."""
        return self._objective.counts_slowly

    def usage(self, treatments: Mapping[str, Treatment]) -> list[np.ndarray]:
        """Return what each layer uses."""
        return [
            self._measure(name, each) * self._factors.get(name, 1.0)
            for name, each in treatments.items()
        ]

    def correct(
        self, treatments: Mapping[str, Treatment], counted: Mapping[str, np.ndarray]
    ) -> None:
        """Make further guesses agree with what was counted for these treatments."""
        for name, each in treatments.items():
            rough = self._measure(name, each)
            self._factors[name] = np.where(rough > 0, counted[name] / np.maximum(rough, 1e-12), 1.0)

    def _measure(self, name: str, treatment: Treatment) -> np.ndarray:
        return self._objective.rough_usage(self._attributes[name], self._kernels[name], treatment)


class MovingLimits:
    """Limits by the costs that guide a choice, moved until what is really used keeps those that are meant.

    Parameters
    ----------
    allowed
        What is allowed of each resource in all, shape ``(M,)``.
    amounts
        The first limits.
    """

    def __init__(self, allowed: np.ndarray, amounts: np.ndarray) -> None:
        self.amounts = amounts
        self._allowed = allowed
        self._last = np.zeros_like(amounts)
        self._part = np.ones_like(amounts)

    def move(self, guided: np.ndarray, left: np.ndarray, least: np.ndarray) -> bool:
        """Move limits down where too much is used, up where much is left, and tell whether any moved.

        Where a limit turns round, it goes half as far: the laws have jumps, over which it would swing for
        ever. If too much is used though a limit is at the least there is, all go half of the way to theirs.

        Parameters
        ----------
        guided
            The usage by the costs that guided the choice.
        left
            What is really left of what is allowed; negative where too much is used.
        least
            The least usage by the costs that guide.
        """
        limits, near = self.amounts, NEAR * self._allowed
        over, bound = left < 0, guided + near > limits
        if (over & (limits <= least)).any():
            self.amounts = np.where(
                np.isfinite(limits), np.minimum((limits + least) / 2, guided), limits
            )
            return bool((guided > least).any())
        lower = np.minimum(limits, guided) + np.minimum(left, -_LEAST_STEP * self._allowed)
        step = np.where(over, lower - limits, np.where(bound & (left > near), left, 0.0))
        self._part = np.where(step * self._last < 0, self._part / 2, self._part)
        self._last = np.where(step != 0, step, self._last)
        self.amounts = limits + self._part * step
        return bool(step.any())
