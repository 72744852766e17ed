# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that scale and shift: batch normalization, PReLU, Normalization and Rescaling."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer, shape_at
from fabricfit.layers.units import Constants, Cut, Replacement, to_numpy

__all__ = ["BatchNormFamily", "PReLUFamily", "ScalingFamily"]


class _PerUnit(LayerFamily):
    """A layer all of whose weights have the units on their last axis."""

    passes_units = True
    shareable = False
    piecewise_linear = True
    multiplies = False

    def obstacle(self, call: Call) -> str | None:
        units = call.output.units
        if any(len(w.shape) == 0 or w.shape[-1] != units for w in call.layer.weights):
            return f"{call.name!r} has weights that are not one for each unit"
        return None

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        return Replacement(weights=[w[..., cut.kept_output] for w in call.layer.get_weights()])


@register_layer
class BatchNormFamily(_PerUnit):
    """``(x − mean) / √(variance + ε) · γ + β`` with the moving statistics."""

    handles = (keras.layers.BatchNormalization,)
    own_work = ElementwiseWork.SCALE

    def scale_and_offset(self, layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
        if layer.axis not in (-1, len(shape_at(layer, "input"))):
            return None
        mean, variance = _to_array(layer.moving_mean), _to_array(layer.moving_variance)
        gamma = _to_array(layer.gamma) if layer.scale else np.ones_like(mean)
        beta = _to_array(layer.beta) if layer.center else np.zeros_like(mean)
        scale = gamma / np.sqrt(variance + layer.epsilon)
        return scale, beta - scale * mean

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


@register_layer
class PReLUFamily(_PerUnit):
    """``x`` where it is positive, else ``α · x``."""

    handles = (keras.layers.PReLU,)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        alpha = to_numpy(call.layer.alpha).reshape(-1, inputs[0].size)
        negative = np.where((alpha == alpha[0]).all(axis=0), alpha[0], np.nan) * inputs[0]
        return np.where(inputs[0] >= 0, inputs[0], negative)


@register_layer
class ScalingFamily(LayerFamily):
    """Normalization by given statistics, and Rescaling: a factor and an offset; their units stay."""

    handles = (keras.layers.Normalization, keras.layers.Rescaling)
    piecewise_linear = True
    multiplies = False


def _to_array(variable: Any) -> np.ndarray:
    """Return a variable as an array of its own type."""
    return np.asarray(keras.ops.convert_to_numpy(variable))
