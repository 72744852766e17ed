"""Regularization strengths of the groups, and the result of a search for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.reporting.report import Trial

__all__ = ["Strengths", "Trial", "TunedStrengths", "regularized_layers", "uniform_strengths"]

Strengths = dict[str, tuple[float, float]]
"""Layer -> ``(alpha, beta)``: strengths of the groups' norms and of their variances."""


@dataclass(frozen=True)
class TunedStrengths:
    """Regularization strengths that were chosen, and the weights trained with them.

    Parameters
    ----------
    strengths
        The best ones.
    weights
        Weights and states of the model, as trained with them.
    trials
        All that were tried, in their order.
    """

    strengths: Strengths
    weights: list[np.ndarray]
    trials: tuple[Trial, ...] = ()


def regularized_layers(attributes: Mapping[str, LayerAttributes]) -> dict[str, tuple[bool, bool]]:
    """Return the layers that are regularized, and whether by their norms and by their variances."""
    return {
        name: (layer.optimization_attributes.pruning, layer.optimization_attributes.weight_sharing)
        for name, layer in attributes.items()
        if layer.optimizable and layer.optimization_attributes is not None
    }


def uniform_strengths(attributes: Mapping[str, LayerAttributes], strength: float) -> Strengths:
    """Return the same strength for all layers, 0 where there is nothing to regularize."""
    return {
        name: (strength * pruning, strength * sharing)
        for name, (pruning, sharing) in regularized_layers(attributes).items()
    }
