"""Targets of a run: a sparsity of every resource, or a budget in units of the resources.

A run goes level by level from the present usage to its target. A target says what is allowed at a level,
chooses a treatment of the weights there, and counts what kernels use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.choices import Treatment
from fabricfit.description.attributes import LayerAttributes
from fabricfit.objectives.base import Objective
from fabricfit.selection.costs import allowed_at, exempt_usage
from fabricfit.selection.groups import select_groups

__all__ = ["Chosen", "SparsityTarget", "Target"]


@dataclass(frozen=True)
class Chosen:
    """Treatments of all weights, chosen at a level.

    Parameters
    ----------
    treatments
        Layer -> treatment of its kernel.
    utilization
        Resources that remain, shape ``(M,)``.
    gap
        Most by which any other choice could lose less, by the linear costs that guided it.
    """

    treatments: dict[str, Treatment]
    utilization: np.ndarray
    gap: float

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Layer -> 1 where a weight trains by itself."""
        return {name: each.mask for name, each in self.treatments.items()}

    @property
    def offsets(self) -> dict[str, np.ndarray]:
        """Layer -> the values of the other weights."""
        return {name: each.offset for name, each in self.treatments.items()}

    @property
    def clusters(self) -> dict[str, np.ndarray]:
        """Layer -> which weights share a value."""
        return {name: each.cluster for name, each in self.treatments.items()}


class Target(ABC):
    """A target of a run, in levels from 0 (the model as it is) to 1."""

    objective: Objective

    decides_each_weight = False
    """Whether a choice is made weight by weight, which needs seconds in a large layer."""

    budget_name = ""
    """What the budget is called, such as the device that it is of."""

    @property
    def is_met(self) -> bool:
        """Whether the model needs no optimization."""
        return False

    @property
    def is_budget(self) -> bool:
        """Whether its levels end at limits of their own, instead of where all is saved."""
        return self.budget_limits is not None

    @property
    def budget_limits(self) -> tuple[float, ...] | None:
        """Limits in units of the objective's resources, if there are any."""
        return None

    @abstractmethod
    def allowed(self, level: float) -> np.ndarray:
        """Return what a level allows of each resource of the whole model, shape ``(M,)``."""

    @abstractmethod
    def choose(
        self,
        kernels: Mapping[str, np.ndarray],
        level: float,
        statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        spare: np.ndarray | None = None,
        *,
        roughly: bool = False,
    ) -> Chosen:
        """Choose a treatment of all weights at a level.

        Parameters
        ----------
        kernels
            Layer -> weights of every optimizable layer.
        level
            How far to go.
        statistics
            ``'gradients'`` and ``'hessians'``: layer -> array, as far as the ranking needs them.
        spare
            What to leave unused of each resource, shape ``(M,)``.
        roughly
            Whether any good choice within the limits will do, where the best one needs long.

        Raises
        ------
        InfeasibleError
            No choice is within what the level allows.
        """

    def excess(self, kernels: Mapping[str, np.ndarray], level: float) -> np.ndarray:
        """Return by how much kernels use more than a level allows, shape ``(M,)``.

        Weights that trained may have come to values that use more than could be known before.
        """
        return np.zeros(1)

    @abstractmethod
    def is_within(self, kernels: Mapping[str, np.ndarray], level: float) -> bool:
        """Whether kernels, those of all layers, use no more than a level allows."""


@dataclass(frozen=True)
class SparsityTarget(Target):
    """A sparsity; a level is the fraction of every resource that is to be saved.

    Parameters
    ----------
    attributes
        Layer -> attributes, ``optimizable`` set as decided.
    objective
        What is saved.
    options
        Keyword arguments of :func:`fabricfit.selection.groups.select_groups`.
    """

    attributes: Mapping[str, LayerAttributes]
    objective: Objective
    options: Mapping[str, Any]

    def allowed(self, level: float) -> np.ndarray:
        """Return what a level allows of each resource of the whole model, shape ``(M,)``."""
        return self._allowed_of(self.attributes, level)

    def _allowed_of(self, attributes: Mapping[str, LayerAttributes], level: float) -> np.ndarray:
        whole = self.options.get("of_whole_model", True)
        exempt = exempt_usage(attributes, self.objective, whole)
        return allowed_at(self.objective.model_usage_without(attributes, {}), level, exempt)

    def choose(
        self,
        kernels: Mapping[str, np.ndarray],
        level: float,
        statistics: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        spare: np.ndarray | None = None,
        *,
        roughly: bool = False,
    ) -> Chosen:
        """Choose the groups that stay."""
        selection = select_groups(
            kernels,
            self.attributes,
            level,
            self.objective,
            statistics=statistics,
            **self.options,
        )
        treatments = selection.treatments(kernels, self.attributes)
        return Chosen(treatments, selection.utilization, selection.gap)

    def is_within(self, kernels: Mapping[str, np.ndarray], level: float) -> bool:
        """Whether kernels use no more than a level allows, in each layer if that is asked for."""
        if self.options.get("local"):
            parts = [({name: self.attributes[name]}, {name: kernels[name]}) for name in kernels]
        else:
            parts = [(dict(self.attributes), dict(kernels))]
        return all(
            (self.objective.model_usage(*part) <= self._allowed_of(part[0], level)).all()
            for part in parts
        )
