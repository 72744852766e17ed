"""Counting what a model really saves: from its weights, not from what was planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.keras.decisions import Decisions
from fabricfit.keras.reading import describe_model, kernels_of
from fabricfit.keras.reduction import reduce_model
from fabricfit.report import LayerReport
from fabricfit.selection import Objective

__all__ = ["Account", "deliver", "saved_groups"]


@dataclass(frozen=True)
class Account:
    """What two models take by an objective's count.

    Parameters
    ----------
    units
        Names of the objective's dimensions.
    layers
        Every layer that has a kernel, before and after.
    before, after
        Resources of the whole models.
    """

    units: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def saved_groups(kernel: np.ndarray, attributes: LayerAttributes) -> int:
    """Count a kernel's groups that save: all zero, or all equal where sharing is allowed.

    Parameters
    ----------
    kernel
        The weights.
    attributes
        The layer's, ``optimization_attributes`` included.
    """
    settings, grouping = attributes.optimization_attributes, attributes.grouping
    assert settings is not None
    groups = grouping.to_groups(kernel)
    saved = np.zeros(grouping.n_groups, bool)
    if settings.pruning:
        saved |= ~groups.any(axis=1)
    if settings.weight_sharing and grouping.group_size > 1:
        inside = grouping.to_groups(np.ones(grouping.shape, bool))
        saved |= np.where(inside, groups == groups[:, :1], True).all(axis=1)
    return int(np.count_nonzero(saved))


def deliver(
    before: keras.Model, after: keras.Model, decisions: Decisions, objective: Objective
) -> tuple[keras.Model, Account]:
    """Make what was pruned real where the objective needs that, and count what is left.

    Parameters
    ----------
    before, after
        The model that came in, and the one with the weights that came out: two models with the same
        layers.
    decisions
        Which of them were optimized.
    objective
        Whose count is used. If it ``removes_units``, the second model is reduced, and what is counted
        is the smaller model.

    Returns
    -------
    model : keras.Model
        The second model, reduced if that is how its savings are realized.
    account : Account
        What both take.
    """
    attributes = decisions.attributes
    pruned = _layer_counts(after, attributes)
    if not objective.removes_units:
        final, gone, result = attributes, pruned, after
    else:
        result = reduce_model(after)
        final, gone = _attributes_of_reduced(result, attributes), {}
    untouched = _layer_counts(before, attributes)
    old, new = kernels_of(before), kernels_of(after)
    layers = tuple(
        LayerReport(
            name=name,
            kind=attributes[name].layer_type.__name__,
            weights=_array(kernel).size,
            nonzeros_before=int(np.count_nonzero(_array(kernel))),
            nonzeros_after=int(np.count_nonzero(_array(new[name]))),
            resources_before=_floats(
                objective.layer_utilization(attributes[name], untouched.get(name, 0))
            ),
            resources_after=_floats(objective.layer_utilization(final[name], gone.get(name, 0))),
            skipped=decisions.skipped.get(name, ""),
        )
        for name, kernel in old.items()
    )
    total = _floats(objective.model_utilization(attributes, untouched))
    left = _floats(objective.model_utilization(final, gone))
    units = tuple(objective.units) or tuple(f"resource {i}" for i in range(len(total)))
    return result, Account(units, layers, total, left)


def _layer_counts(model: keras.Model, attributes: Mapping[str, LayerAttributes]) -> dict[str, int]:
    """Count the saved groups of every optimizable layer in a model's weights."""
    return {
        name: saved_groups(_array(kernel), attributes[name])
        for name, kernel in kernels_of(model).items()
        if name in attributes and attributes[name].optimizable
    }


def _attributes_of_reduced(
    model: keras.Model, attributes: Mapping[str, LayerAttributes]
) -> dict[str, LayerAttributes]:
    """Describe a reduced model as its larger self was described."""
    described = describe_model(model)
    for name, layer in described.items():
        known = attributes[name]
        layer.args = {**known.args, **layer.args}
        layer.optimizable = known.optimizable
        layer.optimization_attributes = known.optimization_attributes
    return described


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
