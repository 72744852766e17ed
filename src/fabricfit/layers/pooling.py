# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Pooling, cropping, enlarging and padding, in 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.units import Constants, only_zero, public_layers

__all__ = ["PoolingFamily", "ResizingFamily", "ZeroPaddingFamily"]


class _ChannelsLast(LayerFamily):
    """A layer that works on the positions of each unit, over which a constant gives that constant."""

    passes_units = True
    piecewise_linear = True
    multiplies = False

    def obstacle(self, call: Call) -> str | None:
        if _is_last(call.layer):
            return None
        return f"{call.name!r} has data_format={call.layer.data_format!r}"


@register_layer
class PoolingFamily(_ChannelsLast):
    """Pooling over windows and over all positions: Keras leaves padding out of averages and maxima."""

    handles = public_layers(
        f"{prefix}{kind}Pooling{n}D"
        for prefix in ("", "Global")
        for kind in ("Average", "Max")
        for n in (1, 2, 3)
    )

    def keeps_grid(self, layer: Any) -> bool:
        return "Max" in type(layer).__name__ and _is_last(layer)


@register_layer
class ResizingFamily(_ChannelsLast):
    """Cropping and enlarging."""

    own_work = ElementwiseWork.FREE

    handles = public_layers(f"{kind}{n}D" for kind in ("Cropping", "UpSampling") for n in (1, 2, 3))

    def keeps_grid(self, layer: Any) -> bool:
        return getattr(layer, "interpolation", "nearest") == "nearest" and _is_last(layer)


@register_layer
class ZeroPaddingFamily(_ChannelsLast):
    """Padding with zeros: only the constant 0 stays constant."""

    own_work = ElementwiseWork.FREE

    handles = public_layers(f"ZeroPadding{n}D" for n in (1, 2, 3))

    def keeps_grid(self, layer: Any) -> bool:
        return _is_last(layer)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return only_zero(inputs[0])


def _is_last(layer: Any) -> bool:
    """Return whether channels are the last axis."""
    return getattr(layer, "data_format", None) in (None, "channels_last")
