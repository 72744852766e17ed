# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Layers with weights for each unit: batch normalization and PReLU."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.rules import Constants, Cut, Replacement, Rule, register, to_numpy

__all__ = ["BatchNorm", "PReLU"]


class _PerUnit(Rule):
    """A layer all of whose weights have the units on their last axis."""

    shareable = False

    def obstacle(self, call: Call) -> str | None:
        units = call.output.units
        if any(len(w.shape) == 0 or w.shape[-1] != units for w in call.layer.weights):
            return f"{call.name!r} has weights that are not one for each unit"
        return None

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        return Replacement(weights=[w[..., cut.kept_output] for w in call.layer.get_weights()])


@register
class BatchNorm(_PerUnit):
    """``(x − mean) / √(variance + ε) · γ + β`` with the moving statistics."""

    handles = (keras.layers.BatchNormalization,)

    def obstacle(self, call: Call) -> str | None:
        axis, rank = call.layer.axis, len(call.output.shape)
        if not isinstance(axis, int) or axis % rank != rank - 1:
            return f"{call.name!r} normalizes axis {axis}, not the last one"
        return super().obstacle(call)

    def scales(self, call: Call) -> list[Any]:
        return [each for each in (call.layer.gamma, call.layer.beta) if each is not None]

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        layer = call.layer
        spread = np.sqrt(to_numpy(layer.moving_variance) + layer.epsilon)
        result = (inputs[0] - to_numpy(layer.moving_mean)) / spread
        if layer.scale:
            result = result * to_numpy(layer.gamma)
        if layer.center:
            result = result + to_numpy(layer.beta)
        return np.where(np.isfinite(result), result, np.nan)


@register
class PReLU(_PerUnit):
    """``x`` where it is positive, else ``α · x``."""

    handles = (keras.layers.PReLU,)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        alpha = to_numpy(call.layer.alpha).reshape(-1, inputs[0].size)
        negative = np.where((alpha == alpha[0]).all(axis=0), alpha[0], np.nan) * inputs[0]
        return np.where(inputs[0] >= 0, inputs[0], negative)
