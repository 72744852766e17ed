# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Layers that bring branches together: their units meet, or stand side by side."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.rules import Constants, Link, Rule, register

__all__ = ["Concatenation", "Meeting"]


def _product(constants: np.ndarray) -> Constants:
    # 0 times whatever another branch brings is 0.
    return np.where((constants == 0).any(axis=0), 0.0, constants.prod(axis=0))


_MEETINGS: dict[type, Callable[[np.ndarray], Constants]] = {
    keras.layers.Add: lambda x: x.sum(axis=0),
    keras.layers.Average: lambda x: x.mean(axis=0),
    keras.layers.Maximum: lambda x: x.max(axis=0),
    keras.layers.Minimum: lambda x: x.min(axis=0),
    keras.layers.Multiply: _product,
    keras.layers.Subtract: lambda x: x[0] - x[1],
}


@register
class Meeting(Rule):
    """Unit i of every branch meets unit i of the others: all go or all stay."""

    handles = tuple(_MEETINGS)

    def obstacle(self, call: Call) -> str | None:
        alike = {(len(tensor.shape), tensor.units) for tensor in call.inputs}
        return f"{call.name!r} broadcasts its inputs" if len(alike) != 1 else None

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        result = _MEETINGS[type(call.layer)](np.stack(inputs))
        return np.where(np.isfinite(result), result, np.nan)


@register
class Concatenation(Rule):
    """Along the last axis units stand side by side; along another one, unit i meets unit i."""

    handles = (keras.layers.Concatenate,)

    def links(self, call: Call) -> list[Link]:
        if not _along_units(call):
            return super().links(call)
        ends = np.cumsum([tensor.units or 0 for tensor in call.inputs])
        links = []
        for port, (tensor, end) in enumerate(zip(call.inputs, ends, strict=True)):
            units = np.arange(tensor.units or 0)
            links.append(Link(port, units, units + end - units.size))
        return links

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        if _along_units(call):
            return np.concatenate(inputs)
        return np.where(np.all([x == inputs[0] for x in inputs], axis=0), inputs[0], np.nan)


def _along_units(call: Call) -> bool:
    rank = len(call.output.shape)
    return call.layer.axis % rank == rank - 1
