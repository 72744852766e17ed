"""Counting what a model really saves: from its weights, not from what was planned."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.keras.decisions import Decisions
from fabricfit.keras.reading import kernels_of
from fabricfit.report import LayerReport
from fabricfit.selection import Objective

__all__ = ["count_resources", "report_layers", "saved_groups"]


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


def count_resources(
    model: keras.Model, attributes: Mapping[str, LayerAttributes], objective: Objective
) -> tuple[float, ...]:
    """Return a model's resources by an objective's count, from the groups that its weights save."""
    removed = {
        name: saved_groups(_array(kernel), attributes[name])
        for name, kernel in kernels_of(model).items()
        if name in attributes and attributes[name].optimizable
    }
    return tuple(float(value) for value in objective.model_utilization(attributes, removed))


def report_layers(
    before: keras.Model, after: keras.Model, decisions: Decisions, objective: Objective
) -> tuple[LayerReport, ...]:
    """Describe every layer that has a kernel, before and after.

    Parameters
    ----------
    before, after
        Two models with the same layers.
    decisions
        Which of them were optimized.
    objective
        Whose count is used.
    """
    old, new = kernels_of(before), kernels_of(after)
    reports = []
    for name, attributes in decisions.attributes.items():
        if name not in old:
            continue
        first, last = _array(old[name]), _array(new[name])
        reports.append(
            LayerReport(
                name=name,
                kind=attributes.layer_type.__name__,
                weights=first.size,
                nonzeros_before=int(np.count_nonzero(first)),
                nonzeros_after=int(np.count_nonzero(last)),
                resources_before=_layer_resources(first, attributes, objective),
                resources_after=_layer_resources(last, attributes, objective),
                skipped=decisions.skipped.get(name, ""),
            )
        )
    return tuple(reports)


def _layer_resources(
    kernel: np.ndarray, attributes: LayerAttributes, objective: Objective
) -> tuple[float, ...]:
    removed = saved_groups(kernel, attributes) if attributes.optimizable else 0
    return tuple(float(value) for value in objective.layer_utilization(attributes, removed))


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
