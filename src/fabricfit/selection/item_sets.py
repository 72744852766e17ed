"""Sets of items for a knapsack: the groups of each layer, or coupled units."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from fabricfit.choices.ranking import GroupLosses
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.coupled_units import bundle_units, reduced_sizes
from fabricfit.objectives.base import Objective
from fabricfit.selection.costs import measure_costs, removed_groups

__all__ = ["CoupledItems", "Items", "LayerItems", "mark_best"]

_KEPT_FRACTION = 0.1
"""At least this fraction of units that are removed together is kept: a layer of one unit is a bottleneck that
no magnitude of weights tells of."""


class Items(ABC):
    """Several sets of items; those of a set cost the same.

    ``names``, ``values``, ``costs`` and ``floors`` hold an entry for each set; ``baseline`` is the usage when
    everything stays.
    """

    names: list[str]
    values: list[np.ndarray]
    costs: list[np.ndarray]
    floors: np.ndarray
    baseline: np.ndarray

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        losses: Mapping[str, GroupLosses],
        objective: Objective,
    ) -> None:
        self._attributes = attributes
        self._losses = losses
        self._objective = objective

    def floor_choice(self) -> list[np.ndarray]:
        """Return the choice of the fewest items: of each set those that would lose most."""
        return [
            mark_best(value, floor) for value, floor in zip(self.values, self.floors, strict=True)
        ]

    @abstractmethod
    def keep(self, choice: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return which groups of each layer stay."""

    @abstractmethod
    def utilization(self, choice: list[np.ndarray]) -> np.ndarray:
        """Return the usage when a choice of items stays."""

    @abstractmethod
    def least(self) -> np.ndarray:
        """Return the usage when the fewest items stay."""


class LayerItems(Items):
    """The groups of each layer as items."""

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        losses: Mapping[str, GroupLosses],
        objective: Objective,
        minimum_groups: int,
    ) -> None:
        super().__init__(attributes, losses, objective)
        found = measure_costs(attributes, objective)
        self.baseline = found.baseline
        self.names = list(found.per_group)
        self.values = [losses[name].loss for name in self.names]
        self.costs = [found.per_group[name] for name in self.names]
        self.floors = np.array([min(minimum_groups, value.size) for value in self.values], int)

    def keep(self, choice: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return which groups of each layer stay."""
        chosen = dict(zip(self.names, choice, strict=True))
        return {
            name: chosen[name] if name in chosen else np.ones(found.loss.size, bool)
            for name, found in self._losses.items()
        }

    def utilization(self, choice: list[np.ndarray]) -> np.ndarray:
        """Return the usage when a choice of items stays."""
        removed = removed_groups(dict(zip(self.names, choice, strict=True)))
        return self._objective.model_usage_without(self._attributes, removed)

    def least(self) -> np.ndarray:
        """Return the usage when the fewest items stay."""
        counts = zip(self.names, self.values, self.floors, strict=True)
        removed = {name: value.size - int(floor) for name, value, floor in counts}
        return self._objective.model_usage_without(self._attributes, removed)


class CoupledItems(Items):
    """Units that can only be removed together as items; a bundle of them is a set."""

    def __init__(
        self,
        attributes: Mapping[str, LayerAttributes],
        losses: Mapping[str, GroupLosses],
        objective: Objective,
        minimum_groups: int,
    ) -> None:
        super().__init__(attributes, losses, objective)
        # What has no second class to stand for it stays: no layer may vanish.
        self._bundles = [each for each in bundle_units(attributes) if each.classes.size > 1]
        self.names = [bundle.name for bundle in self._bundles]
        self.values = [
            np.sum([losses[n].loss[units].sum(axis=1) for n, units in each.members.items()], axis=0)
            for each in self._bundles
        ]
        self.floors = np.array(
            [
                min(max(minimum_groups, math.ceil(_KEPT_FRACTION * value.size)), value.size)
                for value in self.values
            ],
            int,
        )
        everything = [np.ones(value.size, bool) for value in self.values]
        self.baseline = self.utilization(everything)
        self.costs = []
        for index, value in enumerate(self.values):
            one = np.arange(value.size) == 0
            rest = [one if i == index else kept for i, kept in enumerate(everything)]
            self.costs.append((self.baseline - self.utilization(rest)) / (value.size - 1))

    def keep(self, choice: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return which groups of each layer stay."""
        keep = {name: np.ones(found.loss.size, bool) for name, found in self._losses.items()}
        for bundle, kept in zip(self._bundles, choice, strict=True):
            for name, units in bundle.members.items():
                keep[name][units[~kept].reshape(-1)] = False
        return keep

    def utilization(self, choice: list[np.ndarray]) -> np.ndarray:
        """Return the usage when a choice of items stays."""
        removed = [b.classes[~kept] for b, kept in zip(self._bundles, choice, strict=True)]
        sizes = reduced_sizes(self._attributes, np.concatenate(removed) if removed else ())
        return self._objective.reduced_usage(self._attributes, sizes)

    def least(self) -> np.ndarray:
        """Return the usage when the fewest items stay."""
        return self.utilization(self.floor_choice())


def mark_best(loss: np.ndarray, count: int) -> np.ndarray:
    """Mark the ``count`` groups that would lose most, the first ones among equals."""
    keep = np.zeros(loss.size, bool)
    keep[np.argsort(-loss, kind="stable")[:count]] = True
    return keep
