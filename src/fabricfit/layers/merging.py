# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that bring branches together: their units meet, or stand side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.units import Constants, Link

__all__ = ["ConcatenateFamily", "MergeFamily", "MultiplyFamily"]


_Combine = Callable[[np.ndarray], Constants]

_COMBINED: dict[type, _Combine] = {
    keras.layers.Add: lambda x: x.sum(axis=0),
    keras.layers.Average: lambda x: x.mean(axis=0),
    keras.layers.Maximum: lambda x: x.max(axis=0),
    keras.layers.Minimum: lambda x: x.min(axis=0),
    keras.layers.Subtract: lambda x: x[0] - x[1],
}


@register_layer
class MergeFamily(LayerFamily):
    """Sums, averages and extremes of branches: unit i of every branch is coupled to unit i of the others."""

    handles: tuple[type | str, ...] = tuple(_COMBINED)
    passes_units = True
    piecewise_linear = True
    multiplies = False

    def obstacle(self, call: Call) -> str | None:
        alike = {(len(tensor.shape), tensor.units) for tensor in call.inputs}
        return f"{call.name!r} broadcasts its inputs" if len(alike) != 1 else None

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        result = self.combine(call.layer, np.stack(inputs))
        return np.where(np.isfinite(result), result, np.nan)

    def combine(self, layer: Any, constants: np.ndarray) -> Constants:
        """Return the constants of the output, given those of the branches, shape (branches, units)."""
        return _COMBINED[type(layer)](constants)


@register_layer
class MultiplyFamily(MergeFamily):
    """Products of branches, in which 0 times whatever another branch brings is 0."""

    handles = (keras.layers.Multiply,)
    piecewise_linear = False

    def combine(self, layer: Any, constants: np.ndarray) -> Constants:
        return np.where((constants == 0).any(axis=0), 0.0, constants.prod(axis=0))


@register_layer
class ConcatenateFamily(LayerFamily):
    """Along the last axis units stand side by side; along another one, unit i is coupled to unit i."""

    handles = (keras.layers.Concatenate,)
    passes_units = True
    piecewise_linear = True
    multiplies = False
    own_work = ElementwiseWork.FREE

    def links(self, call: Call) -> list[Link]:
        if not _joins_units(call):
            return super().links(call)
        ends = np.cumsum([tensor.units or 0 for tensor in call.inputs])
        links = []
        for port, (tensor, end) in enumerate(zip(call.inputs, ends, strict=True)):
            units = np.arange(tensor.units or 0)
            links.append(Link(port, units, units + end - units.size))
        return links

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        if _joins_units(call):
            return np.concatenate(inputs)
        return np.where(np.all([x == inputs[0] for x in inputs], axis=0), inputs[0], np.nan)


def _joins_units(call: Call) -> bool:
    rank = len(call.output.shape)
    return call.layer.axis % rank == rank - 1
