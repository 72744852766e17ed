"""What an objective says of layers: resources of the dense model, and savings of one group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, spell
from fabricfit.objectives.base import Objective

__all__ = ["Costs", "allowed_at", "exempt_usage", "measure_costs", "removed_groups"]


@dataclass(frozen=True)
class Costs:
    """What an objective says of a set of layers.

    Parameters
    ----------
    baseline
        Resources of the dense layers together, shape ``(M,)``.
    per_group
        Layer -> what removing one of its groups saves, shape ``(M,)``. Layers whose groups save
        nothing are not in it.
    """

    baseline: np.ndarray
    per_group: dict[str, np.ndarray]


def removed_groups(keep: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count the groups of each layer that do not stay."""
    return {name: int(kept.size - np.count_nonzero(kept)) for name, kept in keep.items()}


def measure_costs(attributes: Mapping[str, LayerAttributes], objective: Objective) -> Costs:
    """Ask an objective for the resources of some layers, and check its answers.

    Raises
    ------
    InvalidInputError
        An answer is negative or no whole number, or the layers differ in the number of resources.
    """
    dimensions: int | None = None
    per_group: dict[str, np.ndarray] = {}
    for name, layer in attributes.items():
        total = _check_answer(objective.usage(layer), "resources", name, dimensions)
        dimensions = total.size
        if layer.optimizable and layer.weight_shape:
            saved = _check_answer(objective.saving(layer), "savings", name, dimensions)
            if saved.any():
                count = layer.grouping.n_groups
                left = objective.model_usage_without(attributes, {name: count})
                per_group[name] = (objective.model_usage_without(attributes, {}) - left) / count
    if dimensions is None:
        raise InvalidInputError("attributes must describe at least one layer. Received: none.")
    return Costs(objective.model_usage_without(attributes, {}), per_group)


def allowed_at(
    baseline: np.ndarray, sparsity: float, exempt: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return what a sparsity allows of resources, whole numbers, shape ``(M,)``.

    Parameters
    ----------
    baseline
        Usage of the dense model, shape ``(M,)``.
    sparsity
        Fraction to save.
    exempt
        The part of the baseline that the sparsity is not of, shape ``(M,)``.
    """
    counted = baseline - exempt
    # A whole number that a rounding error makes smaller ((1 - 0.9) * 10 = 0.999…) stays whole.
    return exempt + np.floor((1 - sparsity) * counted + 1e-9 * np.maximum(counted, 1))


def exempt_usage(
    attributes: Mapping[str, LayerAttributes], objective: Objective, of_whole_model: bool
) -> np.ndarray | float:
    """Return the usage that a sparsity is not of: nothing, or that of layers that are not optimizable."""
    rest = {name: layer for name, layer in attributes.items() if not layer.optimizable}
    return 0.0 if of_whole_model or not rest else objective.model_usage_without(rest, {})


def _check_answer(array: np.ndarray, what: str, layer: str, dimensions: int | None) -> np.ndarray:
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or (array % 1).any():
        raise InvalidInputError(
            f"the objective's {what} must be non-negative whole numbers. "
            f"Received for layer {spell(layer)}: {array.tolist()}"
        )
    if dimensions is not None and array.size != dimensions:
        raise InvalidInputError(
            f"the objective's {what} must be {dimensions} number(s), as for the other layers. "
            f"Received for layer {spell(layer)}: {array.tolist()}"
        )
    return array
