"""Masks and offsets: a choice of groups, spelled out for every weight of a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fabricfit.choices.ranking import Criterion
from fabricfit.description.attributes import LayerAttributes
from fabricfit.network.reader import Arrays, as_network
from fabricfit.objectives import ObjectiveLike, as_objective
from fabricfit.selection.groups import select_groups

__all__ = ["get_model_masks"]


def get_model_masks(
    keras_model: keras.Model,
    model_attributes: Mapping[str, LayerAttributes],
    sparsity: float,
    objective: ObjectiveLike,
    metric: str | Criterion = "l1",
    local: bool = False,
    gradients: Mapping[str, np.ndarray] | None = None,
    hessians: Mapping[str, np.ndarray] | None = None,
    knapsack_solver: str = "CBC_MIP",
    *,
    knapsack_options: Mapping[str, Any] | None = None,
    minimum_groups: int = 0,
) -> tuple[Arrays, Arrays]:
    """Choose what to prune and share at a sparsity, and spell it out weight by weight.

    With sparsity ``s``, the usage of the optimizable layers that the objective counts is at most
    ``(1 - s)`` times what it was in every resource. Among all choices that meet this, the one counts that
    loses least by the metric. :func:`fabricfit.optimize` counts all layers instead.

    Parameters
    ----------
    keras_model
        The model whose weights are ranked. It is not changed.
    model_attributes
        Layer -> attributes. Layers with ``optimizable`` set take part, and only they count.
    sparsity
        Fraction of every resource to save, in [0, 1]; at 1 all masks are zero.
    objective
        What is counted: an estimator class or instance.
    metric
        Ranking criterion: ``'l1'``, ``'l2'``, ``'oracle'``, ``'saliency'`` or a registered one, see
        :mod:`fabricfit.choices.ranking`. A group that may be pruned or shared goes to whichever loses less.
    local
        Meet the sparsity in every layer by itself.
    gradients, hessians
        Layer -> array in the kernel's shape, for the criteria that need them.
    knapsack_solver
        ``'CBC_MIP'``, the historical default, and ``'exact'`` mean the exact solver for groups of equal
        cost; ``'greedy'``, ``'dynamic'`` and ``'branch_bound'`` are those of
        :func:`fabricfit.knapsack.solve_knapsack`.
    knapsack_options
        ``time_limit`` in seconds for one knapsack, and ``scaling_factor``.
    minimum_groups
        Groups that stay in every layer whatever the sparsity. With 0 a layer, and with it the network,
        may vanish.

    Returns
    -------
    masks : dict
        Layer -> array in the kernel's shape: 1 where a weight is trained, 0 where it is frozen.
    offsets : dict
        Layer -> array in the kernel's shape: the group's mean where it is shared, else 0. The weights
        to go on with are ``kernel * mask + offset``.

    Raises
    ------
    InfeasibleError
        The sparsity cannot be met while ``minimum_groups`` stay in every layer.
    InvalidInputError
        An argument is out of range, or a statistic is missing or does not fit.
    """
    views = as_network(keras_model, "keras_model").kernel_views()
    optimizable = {name for name, layer in model_attributes.items() if layer.optimizable}
    kernels = {name: kernel for name, kernel in views.items() if name in optimizable}
    selection = select_groups(
        kernels,
        model_attributes,
        sparsity,
        as_objective(objective),
        metric=metric,
        statistics={"gradients": gradients or {}, "hessians": hessians or {}},
        local=local,
        knapsack_solver=knapsack_solver,
        knapsack_options=knapsack_options,
        minimum_groups=minimum_groups,
        of_whole_model=False,
    )
    treated = selection.treatments(kernels, model_attributes)
    masks = {name: treatment.mask for name, treatment in treated.items()}
    return masks, {name: treatment.offset for name, treatment in treated.items()}
