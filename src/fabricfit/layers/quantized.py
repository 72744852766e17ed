# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that quantize their own weights: read as plain ones, with the weights that they multiply by.

Only what the quantizers cannot notice is removed: a constant folded into a bias would be rounded, so that
nothing but the constant 0 is folded.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily
from fabricfit.layers.plain_layers import PlainLayer, make_alike
from fabricfit.layers.units import (
    Constants,
    Cut,
    Link,
    Numbers,
    Replacement,
    Wiring,
    only_zero,
)

__all__ = ["LayerView", "QuantizedFamily", "RoundingFamily", "namesake", "without_constants"]


class QuantizedFamily(LayerFamily):
    """Layers that compute what those of a plain family compute, with quantized weights.

    Parameters
    ----------
    handles
        The layer types.
    plain
        The family of the layers that they quantize.
    """

    passes_units = True
    shareable = False

    def __init__(self, handles: tuple[type | str, ...], plain: LayerFamily) -> None:
        self.handles = handles
        self.plain = plain
        self.regularizer = plain.regularizer
        self.has_own_units = plain.has_own_units
        self.own_work = plain.own_work

    def quantizes(self, layer: Any) -> bool:
        return True

    @abstractmethod
    def quantized(self, call: Call) -> Call:
        """Return the call of a layer whose weights are those that it multiplies by."""

    def pins_output(self, call: Call) -> str | None:
        return self.plain.pins_output(call)

    def links(self, call: Call) -> list[Link]:
        return self.plain.links(call)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return self.plain.constants(self.quantized(call), tuple(map(only_zero, inputs)))

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return self.plain.dispensable(self.quantized(call), port, only_zero(constants), kept_output)

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return self.plain.needs_of_its_own(self.quantized(call), constants, kept_output)

    def zero_units(self, call: Call) -> np.ndarray:
        return self.plain.zero_units(self.quantized(call))

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return self.plain.wiring(call, numbers)

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} is quantized, and a constant other than 0 would be rounded"

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        return self.plain.replacement(call, without_constants(cut))


class RoundingFamily(LayerFamily):
    """Layers without a kernel that round what they receive, compute or return; all units around them stay.

    They are named after layers of Keras, which compute the same but for what is rounded.

    Parameters
    ----------
    handles
        The layer types.
    """

    multiplies = False  # what has several axes are bits

    def __init__(self, handles: tuple[type | str, ...]) -> None:
        self.handles = handles

    def quantizes(self, layer: Any) -> bool:
        return True

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        return (PlainLayer(make_alike(layer, namesake(layer))),)


def namesake(layer: Any) -> Any:
    """Return the class of Keras that a quantized layer is named after: Dense for QDense.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    kind = getattr(keras.layers, type(layer).__name__.removeprefix("Q"), None)
    if kind is None:
        raise InvalidInputError("no layer of Keras computes the same")
    return kind


class LayerView:
    """A layer some of whose attributes are others."""

    def __init__(self, layer: Any, others: dict[str, Any]) -> None:
        self._layer, self._others = layer, others

    def __getattr__(self, name: str) -> Any:
        others = self.__dict__["_others"]
        return others[name] if name in others else getattr(self.__dict__["_layer"], name)


def without_constants(cut: Cut) -> Cut:
    """Return a cut in which constants other than 0 count as varying."""
    return replace(cut, constants=tuple(map(only_zero, cut.constants)))
