"""The extension point: what an objective must tell of a layer, and what follows from it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fabricfit.choices import Choices, Treatment
from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.description.coupled_units import gone_classes, is_coupled, reduced_sizes
from fabricfit.description.grouping import Grouping
from fabricfit.errors import InvalidInputError

__all__ = ["ObjectiveEstimator"]

if TYPE_CHECKING:
    objective_method = classmethod
else:

    class objective_method(classmethod):  # noqa: N801 - a decorator
        """A class method that an instance calls on itself.

        So the methods of an objective with state find that state through those inherited here.
        """

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            bound_to = type(instance) if owner is None else owner
            if instance is None:
                return super().__get__(None, bound_to)
            return self.__func__.__get__(instance, bound_to)


class ObjectiveEstimator(ABC):
    """A resource, or several, that an optimization is to reduce.

    Subclass it and write the three abstract methods, as class methods; pass the class as the
    ``objective``. An objective with parameters of its own can write them as ordinary methods and be
    passed as an instance. Costs are whole numbers of at least 0, one for each dimension, always in
    the same order.

    The other methods follow from those three; override them where resources are not the sum of what
    single groups save.

    Examples
    --------
    >>> from fabricfit.attributes import LayerAttributes, OptimizationAttributes
    >>> class Multiplications(ObjectiveEstimator):
    ...     units = ("MAC",)
    ...
    ...     @classmethod
    ...     def is_layer_optimizable(cls, layer_attributes):
    ...         if not layer_attributes.weight_shape:
    ...             return False, None
    ...         return True, OptimizationAttributes("structured", pruning=True)
    ...
    ...     @classmethod
    ...     def layer_resources(cls, layer_attributes):
    ...         n_in, n_out = layer_attributes.weight_shape
    ...         return [n_in * n_out]
    ...
    ...     @classmethod
    ...     def layer_savings(cls, layer_attributes):
    ...         return [layer_attributes.weight_shape[0]]
    >>> dense = LayerAttributes("dense", object, [], (16, 8), (16,), (8,))
    >>> Multiplications.layer_utilization(dense, removed=2)
    [96]
    """

    units: tuple[str, ...] = ()
    """Names of the dimensions, such as ``('DSP', 'BRAM18')``; empty where they are not known."""

    offers_choices: bool = False
    """Whether :meth:`layer_choices` says what may become of the weights of optimizable layers."""

    counts_all_layers: bool = False
    """Whether layers without a kernel take something too, see :meth:`layer_use`."""

    removes_units: bool = False
    """Whether the resource is saved only once pruned units are taken out of the model."""

    @classmethod
    @abstractmethod
    def is_layer_optimizable(
        cls, layer_attributes: LayerAttributes
    ) -> tuple[bool, OptimizationAttributes | None]:
        """Tell whether pruning or sharing this layer's weights saves anything, and in what groups.

        Parameters
        ----------
        layer_attributes
            The layer. Its ``optimization_attributes`` are not yet set.

        Returns
        -------
        (bool, OptimizationAttributes or None)
            ``(False, None)`` where nothing can be saved.
        """

    @classmethod
    @abstractmethod
    def layer_resources(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return what the whole layer takes, one number for each dimension."""

    @classmethod
    @abstractmethod
    def layer_savings(cls, layer_attributes: LayerAttributes) -> list[int]:
        """Return what one full group of the layer saves, one number for each dimension."""

    @objective_method
    def layer_utilization(
        cls,  # noqa: N805
        layer_attributes: LayerAttributes,
        removed: int,
    ) -> list[int]:
        """Return what the layer takes when groups are gone.

        Parameters
        ----------
        layer_attributes
            The layer, with the ``optimization_attributes`` that its groups follow.
        removed
            Number of groups that are gone.

        Returns
        -------
        list of int
            By default the layer's resources less what the groups save, never below 0. Groups that
            are not full save less, and count as the first to go.

        Raises
        ------
        InvalidInputError
            ``removed`` is negative, or the objective's numbers differ in their dimensions.
        """
        _check_removed(layer_attributes.name, removed)
        resources = [int(number) for number in cls.layer_resources(layer_attributes)]
        if not removed:
            return resources
        savings = [int(number) for number in cls.layer_savings(layer_attributes)]
        if len(savings) != len(resources):
            raise InvalidInputError(
                f"the resources and savings of layer {layer_attributes.name!r} must have the same "
                f"dimensions. Received: {resources} and {savings}"
            )
        grouping = layer_attributes.grouping
        return [
            left_over(total, saved, grouping, removed)
            for total, saved in zip(resources, savings, strict=True)
        ]

    @objective_method
    def model_utilization(
        cls,  # noqa: N805
        attributes: Mapping[str, LayerAttributes],
        removed: Mapping[str, int],
    ) -> list[int]:
        """Return what the model takes when groups of its layers are gone.

        Parameters
        ----------
        attributes
            Layer name -> attributes. Layers without a kernel take nothing.
        removed
            Layer name -> number of groups that are gone; 0 for layers that are not in it.

        Returns
        -------
        list of int
            By default the sum over the layers of :meth:`layer_utilization`.

        Raises
        ------
        InvalidInputError
            ``removed`` names a layer that is not there or holds a negative number, or layers differ
            in their dimensions.
        """
        check_removed(attributes, removed)
        total = [0] * len(cls.units)
        for name, layer in attributes.items():
            if not layer.weight_shape:
                continue
            used = cls.layer_utilization(layer, removed.get(name, 0))
            total = total or [0] * len(used)
            if len(used) != len(total):
                raise InvalidInputError(
                    f"the resources of layer {name!r} must have {len(total)} dimensions, as those "
                    f"of the model have. Received: {used}"
                )
            total = [a + b for a, b in zip(total, used, strict=True)]
        return total or [0]

    @objective_method
    def layer_use(cls, layer_attributes: LayerAttributes, kernel: np.ndarray) -> list[float]:  # noqa: N805
        """Return what the layer takes with these very weights.

        Parameters
        ----------
        layer_attributes
            The layer, optimizable or not.
        kernel
            Its weights.

        Returns
        -------
        list of float
            By default :meth:`layer_utilization` without the groups that
            :func:`saved_groups` counts.
        """
        return list(
            map(
                float,
                cls.layer_utilization(layer_attributes, saved_groups(kernel, layer_attributes)),
            )
        )

    @objective_method
    def model_use(
        cls,  # noqa: N805
        attributes: Mapping[str, LayerAttributes],
        kernels: Mapping[str, np.ndarray],
    ) -> list[float]:
        """Return what the model takes with these very weights.

        Parameters
        ----------
        attributes
            Layer name -> attributes.
        kernels
            Layer name -> kernel.

        Returns
        -------
        list of float
            By default :meth:`model_utilization` without the groups that :func:`saved_groups` counts; where
            units are removed, what is left of all kernels that they touch.
        """
        return use_without_groups(cls, attributes, kernels)

    @objective_method
    def reduced_utilization(
        cls,  # noqa: N805
        attributes: Mapping[str, LayerAttributes],
        sizes: Mapping[str, tuple[int, int]],
    ) -> list[int]:
        """Return what the model takes when its kernels are smaller.

        Parameters
        ----------
        attributes
            Layer name -> attributes.
        sizes
            Layer name -> rows and units that are left, of layers that are smaller.

        Returns
        -------
        list of int
            By default what :meth:`model_utilization` says of layers of these sizes.
        """
        smaller = {
            name: layer.resized(*sizes[name]) if name in sizes else layer
            for name, layer in attributes.items()
        }
        return cls.model_utilization(smaller, {})

    @objective_method
    def layer_choices(
        cls,  # noqa: N805
        layer_attributes: LayerAttributes,
        kernel: np.ndarray,
        **ranking: Any,
    ) -> Choices:
        """Return what may become of the layer's weights, where that is more than to keep or lose groups.

        Asked only where :attr:`offers_choices` is set.

        Parameters
        ----------
        layer_attributes
            The layer.
        kernel
            Its weights.
        **ranking
            ``metric`` and ``statistics`` of :func:`fabricfit.choices.ranking.weight_loss`, and
            ``minimum_groups``.
        """
        raise NotImplementedError

    @objective_method
    def treated_use(
        cls,  # noqa: N805
        layer_attributes: LayerAttributes,
        kernel: np.ndarray,
        treatment: Treatment,
    ) -> np.ndarray:
        """Return what the layer takes at most when its weights were treated and trained on.

        Parameters
        ----------
        layer_attributes
            The layer.
        kernel
            Its weights before.
        treatment
            What becomes of them.

        Returns
        -------
        array of shape ``(M,)``
            By default :meth:`layer_use` of the treated weights.
        """
        return np.array(cls.layer_use(layer_attributes, treatment.apply(kernel)))

    @objective_method
    def reason(cls, layer_attributes: LayerAttributes) -> str:  # noqa: N805
        """Say in a sentence why a layer is not optimizable; empty where it is or none is known."""
        return ""


def use_without_groups(
    objective: Any, attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
) -> list[float]:
    """Return what a model takes without the groups, or the units, whose weights are all zero.

    Parameters
    ----------
    objective
        The estimator, as a class or an instance.
    attributes, kernels
        As for :meth:`ObjectiveEstimator.model_use`.
    """
    if objective.removes_units and any(map(is_coupled, attributes.values())):
        sizes = reduced_sizes(attributes, gone_classes(attributes, kernels))
        return list(map(float, objective.reduced_utilization(attributes, sizes)))
    saved = {name: saved_groups(kernel, attributes[name]) for name, kernel in kernels.items()}
    return list(map(float, objective.model_utilization(attributes, saved)))


def saved_groups(kernel: np.ndarray, attributes: LayerAttributes) -> int:
    """Count a kernel's groups that save: all zero, or all equal where sharing is allowed.

    Parameters
    ----------
    kernel
        The weights.
    attributes
        The layer's, ``optimization_attributes`` included. A layer that is not optimizable saves nothing.
    """
    settings = attributes.optimization_attributes
    if not attributes.optimizable or settings is None:
        return 0
    grouping = attributes.grouping
    groups = grouping.to_groups(kernel)
    saved = np.zeros(grouping.n_groups, bool)
    if settings.pruning:
        saved |= ~groups.any(axis=1)
    if settings.weight_sharing and grouping.group_size > 1:
        inside = grouping.to_groups(np.ones(grouping.shape, bool))
        saved |= np.where(inside, groups == groups[:, :1], True).all(axis=1)
    return int(np.count_nonzero(saved))


def left_over(total: int, saved: int, grouping: Grouping, removed: int) -> int:
    """Return what is left of a total when some groups are gone, whichever they are.

    A group that is not full saves in proportion to its members, and such groups are taken to be the
    first to go; with the last group, everything that groups can save is gone.

    Parameters
    ----------
    total
        Resources of the dense layer.
    saved
        What a full group saves.
    grouping
        The layer's groups.
    removed
        Number of groups that are gone.
    """
    gone = removed * saved
    if not grouping.is_exact and removed < grouping.n_groups:
        members = int(np.sort(grouping.member_counts)[:removed].sum())
        gone = saved * members // grouping.group_size
    return max(total - gone, 0)


def check_removed(attributes: Mapping[str, LayerAttributes], removed: Mapping[str, int]) -> None:
    """Raise unless ``removed`` holds numbers of at least 0 for layers that are there."""
    for name, number in removed.items():
        if name not in attributes:
            raise InvalidInputError(f"removed names a layer that is not there. Received: {name!r}")
        _check_removed(name, number)


def prunes(layer_attributes: LayerAttributes, log: logging.Logger, resource: str) -> bool:
    """Tell whether a layer's groups are pruned and nothing else; log a warning if they are shared.

    Where a group may be either pruned or shared it is not known beforehand which it will be, and
    only the first saves anything: then none is counted.

    Parameters
    ----------
    layer_attributes
        The layer.
    log
        The logger of the objective.
    resource
        What sharing does not save, as it stands in the warning.
    """
    chosen = layer_attributes.optimization_attributes
    if chosen is None or not layer_attributes.weight_shape:
        return False
    if chosen.weight_sharing:
        log.warning(
            "Layer %r: weight sharing saves no %s, so none of its groups counts as saved. Allow "
            "pruning only.",
            layer_attributes.name,
            resource,
        )
    return chosen.pruning and not chosen.weight_sharing


def _check_removed(name: str, removed: int) -> None:
    if removed < 0:
        raise InvalidInputError(
            f"the number of groups removed from layer {name!r} must be at least 0. "
            f"Received: {removed!r}"
        )
