"""The core of an objective: which groups, what weights use, what removing a group saves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from fabricfit.choices import Choices, Treatment
from fabricfit.choices.ranking import Criterion
from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.objectives.counting import (
    check_removed,
    count_saved_groups,
    find_smaller_kernels,
    left_over,
)

__all__ = ["Amounts", "Objective"]

Amounts = np.ndarray
"""One number for each of an objective's dimensions, shape ``(M,)``, float64."""

Kernels = Mapping[str, np.ndarray]
"""Layer name -> weights."""


class Objective(ABC):
    """One or several resources that an optimization is to reduce.

    Three methods are abstract: :meth:`groups`, :meth:`usage` and :meth:`saving`. The others follow from
    them; override those where resources are not the sum of what single groups save. Amounts are at
    least 0, in the same order everywhere; those without weights, and those of :meth:`saving`, are whole
    numbers.
    """

    units: tuple[str, ...] = ()
    """Names of the dimensions, such as ``('DSP', 'BRAM18')``; empty where they are not known."""

    offers_choices: bool = False
    """Whether :meth:`choices` lists more than to keep or remove the groups of optimizable layers."""

    counts_all_layers: bool = False
    """Whether layers without a kernel use resources too."""

    counts_slowly: bool = False
    """Whether :meth:`treated_usage` takes so long that choices are guided by :meth:`rough_usage`."""

    removes_units: bool = False
    """Whether the resource is saved only once pruned units are removed from the model."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What tells it from another objective of its class."""
        return vars(self)

    @abstractmethod
    def groups(self, layer: LayerAttributes) -> OptimizationAttributes | None:
        """Return how a layer's kernel is divided into groups, and what may be done to them.

        Returns
        -------
        OptimizationAttributes or None
            None where nothing can be saved; :meth:`reason` says why.
        """

    @abstractmethod
    def usage(self, layer: LayerAttributes, kernel: np.ndarray | None = None) -> Amounts:
        """Return the resource usage of a layer.

        Parameters
        ----------
        layer
            The layer, optimizable or not.
        kernel
            Its weights, empty for a layer without a kernel; None for the most that any weights use.
        """

    @abstractmethod
    def saving(self, layer: LayerAttributes) -> Amounts:
        """Return what removing one full group of an optimizable layer saves."""

    def usage_without(self, layer: LayerAttributes, removed: int) -> Amounts:
        """Return the usage of a layer without some of its groups, whichever they are.

        Parameters
        ----------
        layer
            The layer, with the ``optimization_attributes`` that its groups follow.
        removed
            Number of groups that are removed, at least 0. Groups that are not full save less, and count as
            the first to be removed.
        """
        check_removed({layer.name: layer}, {layer.name: removed})
        dense = self.usage(layer)
        if not removed:
            return dense
        pairs = zip(dense.tolist(), self.saving(layer).tolist(), strict=True)
        return np.array(
            [left_over(int(all_), int(one), layer.grouping, removed) for all_, one in pairs], float
        )

    def model_usage_without(
        self, attributes: Mapping[str, LayerAttributes], removed: Mapping[str, int]
    ) -> Amounts:
        """Return the usage of a model without some groups of its layers.

        Parameters
        ----------
        attributes
            Layer name -> attributes. Layers without a kernel use nothing by default.
        removed
            Layer name -> number of groups that are removed; 0 for layers that are not in it.
        """
        check_removed(attributes, removed)
        used = [
            self.usage_without(layer, removed.get(name, 0))
            for name, layer in attributes.items()
            if layer.weight_shape
        ]
        return np.sum(used, axis=0) if used else np.zeros(max(len(self.units), 1))

    def model_usage(self, attributes: Mapping[str, LayerAttributes], kernels: Kernels) -> Amounts:
        """Return the usage of a model with these very weights.

        By default that without the groups that :func:`.counting.count_saved_groups` counts; where units are
        removed, of what is left of all kernels that they touch.
        """
        sizes = find_smaller_kernels(attributes, kernels) if self.removes_units else None
        if sizes is not None:
            return self.reduced_usage(attributes, sizes)
        saved = {name: count_saved_groups(each, attributes[name]) for name, each in kernels.items()}
        return self.model_usage_without(attributes, saved)

    def reduced_usage(
        self,
        attributes: Mapping[str, LayerAttributes],
        sizes: Mapping[str, tuple[int, int]],
    ) -> Amounts:
        """Return the usage of a model whose kernels are smaller.

        Parameters
        ----------
        attributes
            Layer name -> attributes.
        sizes
            Layer name -> rows and units that are left, of layers that are smaller.
        """
        smaller = {
            name: layer.resized(*sizes[name]) if name in sizes else layer
            for name, layer in attributes.items()
        }
        return self.model_usage_without(smaller, {})

    def choices(
        self,
        layer: LayerAttributes,
        kernel: np.ndarray,
        *,
        metric: str | Criterion = "l1",
        statistics: Mapping[str, np.ndarray] | None = None,
        minimum_groups: int = 1,
    ) -> Choices:
        """Return the treatments to choose from for a layer's weights.

        Called only where :attr:`offers_choices` is set.

        Parameters
        ----------
        layer, kernel
            The layer, and its weights.
        metric, statistics
            As for :func:`fabricfit.choices.ranking.weight_loss`.
        minimum_groups
            Number of groups that are kept in any case.
        """
        raise NotImplementedError

    def treated_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return the largest usage of a layer whose weights were treated and then trained.

        By default the :meth:`usage` of the treated weights.

        Parameters
        ----------
        layer, kernel
            The layer, and its weights before the treatment.
        treatment
            The treatment of each weight.
        """
        return self.usage(layer, treatment.apply(kernel))

    def rough_usage(
        self, layer: LayerAttributes, kernel: np.ndarray, treatment: Treatment
    ) -> Amounts:
        """Return about the :meth:`treated_usage`, where that takes long.

        Choices are guided by it where :attr:`counts_slowly` is set, and what was chosen is counted then. The
        arguments are those of :meth:`treated_usage`.
        """
        return self.treated_usage(layer, kernel, treatment)

    def built_with(self, layer: LayerAttributes, kernel: np.ndarray) -> str:
        """Return how a layer with these weights is built, for reports; empty where that is not known."""
        return ""

    def reason(self, layer: LayerAttributes) -> str:
        """Say in a sentence why nothing can be saved in a layer; empty where it can or it is not known."""
        return ""
