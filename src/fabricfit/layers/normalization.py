# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that scale and shift: batch normalization, PReLU, Normalization and Rescaling."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer, shape_at
from fabricfit.layers.units import Constants, Cut, Replacement, to_array, to_numpy

__all__ = ["BatchNormFamily", "PReLUFamily", "ScalingFamily", "read_scaling"]


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
    folds_normalization = True

    def scaled_axis(self, layer: Any) -> int | None:
        axis, rank = _single(layer.axis), len(shape_at(layer, "input")) + 1
        return None if axis is None or rank < 2 else axis % rank - rank

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        if axis != self.scaled_axis(layer):
            return None
        mean, variance = to_numpy(layer.moving_mean), to_numpy(layer.moving_variance)
        gamma = to_numpy(layer.gamma) if layer.scale else np.ones_like(mean)
        beta = to_numpy(layer.beta) if layer.center else np.zeros_like(mean)
        weights = [gamma * scale, beta * scale + offset, mean, variance]
        kind = layer.moving_mean.dtype
        return Replacement({"scale": True, "center": True}, [w.astype(kind) for w in weights])

    def scale_and_offset(self, layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
        if self.scaled_axis(layer) is None:
            return None
        mean, variance = to_array(layer.moving_mean), to_array(layer.moving_variance)
        gamma = to_array(layer.gamma) if layer.scale else np.ones_like(mean)
        beta = to_array(layer.beta) if layer.center else np.zeros_like(mean)
        scale = gamma / np.sqrt(variance + layer.epsilon)
        return scale, beta - scale * mean

    def obstacle(self, call: Call) -> str | None:
        axis, rank = _single(call.layer.axis), len(call.output.shape)
        if axis is None or axis % rank != rank - 1:
            return f"{call.name!r} normalizes axis {call.layer.axis}, not the last one"
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

    def scaled_axis(self, layer: Any) -> int | None:
        return -1

    def scale_and_offset(self, layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
        shape = shape_at(layer, "input")
        return read_scaling(layer, shape[-1] if shape else None)


def read_scaling(layer: Any, units: int | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what a Rescaling or Normalization multiplies entries of the last axis by and adds to them.

    Parameters
    ----------
    layer
        The layer, built.
    units
        Length of the last axis of its inputs; None where it is not known.

    Returns
    -------
    scale, offset : array of shape ``(units,)``, float64
        None where entries of the last axis are not scaled alike.
    """
    if units is None:
        return None
    if isinstance(layer, keras.layers.Rescaling):
        parts = [np.asarray(part, np.float64) for part in (layer.scale, layer.offset)]
    else:
        mean, deviation = to_numpy(layer.mean), np.sqrt(to_numpy(layer.variance))
        deviation = np.maximum(deviation, keras.config.epsilon())
        parts = [deviation, mean] if layer.invert else [1 / deviation, -mean / deviation]
    # One number for all, or one for each entry of the last axis.
    if any(
        part.size not in (1, units) or part.shape[-1:] not in ((), (1,), (units,)) for part in parts
    ):
        return None
    scale, offset = (np.broadcast_to(part.reshape(-1), (units,)) for part in parts)
    return scale, offset


def _single(axis: Any) -> int | None:
    """Return an axis that may stand in a list, as in models of older versions of Keras."""
    axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    return int(axes[0]) if len(axes) == 1 else None
