"""Objectives by class methods, the interface of hls4ml's optimization API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fabricfit.choices import Choices, Treatment
from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.objectives.counting import (
    check_removed,
    count_saved_groups,
    find_smaller_kernels,
    left_over,
)

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
    """Resources that an optimization is to reduce, by class methods.

    Subclass it and write the three abstract methods, as class methods; pass the class as the
    ``objective``. An objective with parameters of its own can write them as ordinary methods and be
    passed as an instance. Costs are whole numbers of at least 0, one for each dimension, always in
    the same order.

    The other methods follow from those three; override them where resources are not the sum of what
    single groups save. Inside, :func:`~.adapter.as_objective` makes an :class:`~.base.Objective` of it.

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
    """Whether :meth:`layer_choices` lists the treatments to choose from in optimizable layers."""

    counts_all_layers: bool = False
    """Whether layers without a kernel use resources too, see :meth:`layer_use`."""

    removes_units: bool = False
    """Whether the resource is saved only once pruned units are removed from the model."""

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
        """Return the resource usage of the whole layer, one number for each dimension."""

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
        """Return the usage of the layer without some of its groups.

        Parameters
        ----------
        layer_attributes
            The layer, with the ``optimization_attributes`` that its groups follow.
        removed
            Number of groups that are removed.

        Returns
        -------
        list of int
            By default the layer's resources less what the groups save, never below 0. Groups that
            are not full save less, and count as the first to be removed.

        Raises
        ------
        InvalidInputError
            ``removed`` is negative, or the objective's numbers differ in their dimensions.
        """
        check_removed({layer_attributes.name: layer_attributes}, {layer_attributes.name: removed})
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
        """Return the usage of the model without some groups of its layers.

        Parameters
        ----------
        attributes
            Layer name -> attributes. Layers without a kernel use nothing.
        removed
            Layer name -> number of groups that are removed; 0 for layers that are not in it.

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
        """Return the usage of the layer with these very weights.

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
            :func:`.counting.count_saved_groups` counts.
        """
        saved = count_saved_groups(kernel, layer_attributes)
        return [float(amount) for amount in cls.layer_utilization(layer_attributes, saved)]

    @objective_method
    def model_use(
        cls,  # noqa: N805
        attributes: Mapping[str, LayerAttributes],
        kernels: Mapping[str, np.ndarray],
    ) -> list[float]:
        """Return the usage of the model with these very weights.

        Parameters
        ----------
        attributes
            Layer name -> attributes.
        kernels
            Layer name -> kernel.

        Returns
        -------
        list of float
            By default :meth:`model_utilization` without the groups whose weights are all zero; where units
            are removed, of what is left of all kernels that they touch.
        """
        sizes = find_smaller_kernels(attributes, kernels) if cls.removes_units else None
        if sizes is not None:
            return [float(amount) for amount in cls.reduced_utilization(attributes, sizes)]
        saved = {name: count_saved_groups(each, attributes[name]) for name, each in kernels.items()}
        return [float(amount) for amount in cls.model_utilization(attributes, saved)]

    @objective_method
    def reduced_utilization(
        cls,  # noqa: N805
        attributes: Mapping[str, LayerAttributes],
        sizes: Mapping[str, tuple[int, int]],
    ) -> list[int]:
        """Return the usage of the model with smaller kernels.

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
        """Return the treatments to choose from for the layer's weights, beyond keeping or removing groups.

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
        """Return the largest usage of the layer after its weights were treated and then trained.

        Parameters
        ----------
        layer_attributes
            The layer.
        kernel
            Its weights before.
        treatment
            The treatment of each weight.

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
