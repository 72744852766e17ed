# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Flatten, Reshape and Permute: positions become units, or units become positions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer, shape_at
from fabricfit.layers.units import Constants, Cut, Link, Replacement

__all__ = ["FlattenFamily", "PermuteFamily", "ReshapeFamily"]


class _RowMajor(LayerFamily):
    """A layer that keeps the order of all numbers and changes only the shape.

    Number *n* of a sample belongs to unit ``n % units`` before and after, so that one of the two
    counts of units has to divide the other.
    """

    passes_units = True
    piecewise_linear = True
    multiplies = False
    own_work = ElementwiseWork.FREE

    def hands_on(self, layer: Any) -> bool:
        return getattr(layer, "data_format", None) in (None, "channels_last")

    def keeps_grid(self, layer: Any) -> bool:
        before, after = ((*shape_at(layer, side), None)[-2:][0] for side in ("input", "output"))
        return bool(before and after and after % before == 0) and self.hands_on(layer)

    def obstacle(self, call: Call) -> str | None:
        before, after = call.inputs[0].units, call.output.units
        if not before or not after or (before % after and after % before):
            return f"{call.name!r} splits {before} units into {after}"
        return None

    def links(self, call: Call) -> list[Link]:
        before, after = call.inputs[0].units or 0, call.output.units or 0
        numbers = np.arange(max(before, after))
        return [Link(0, numbers % before, numbers % after)]

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        after = call.output.units or 0
        if after >= inputs[0].size:
            return np.tile(inputs[0], after // inputs[0].size)
        merged = inputs[0].reshape(-1, after)
        return np.where((merged == merged[0]).all(axis=0), merged[0], np.nan)


@register_layer
class FlattenFamily(_RowMajor):
    """A filter becomes one unit for each position."""

    handles = (keras.layers.Flatten,)

    def obstacle(self, call: Call) -> str | None:
        if call.layer.data_format != "channels_last":
            return f"{call.name!r} has data_format={call.layer.data_format!r}"
        return super().obstacle(call)


@register_layer
class ReshapeFamily(_RowMajor):
    """As Flatten, to any shape where one number of units divides the other."""

    handles = (keras.layers.Reshape,)
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        if None in call.output.shape[1:]:
            return f"the output shape of {call.name!r} is not known"
        return super().obstacle(call)

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        shape = (*call.output.shape[1:-1], int(cut.kept_output.sum()))
        return Replacement(config={"target_shape": shape})


@register_layer
class PermuteFamily(LayerFamily):
    """Axes in another order; units may become positions, so that they stay."""

    handles = (keras.layers.Permute,)
    piecewise_linear = True
    multiplies = False
    own_work = ElementwiseWork.FREE
