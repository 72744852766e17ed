# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that apply another one: its kernels are theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, family_of, register_layer, unit_family
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.units import Changed, Constants, Cut, Numbers, Replacement, Wiring

__all__ = ["TimeDistributedFamily", "inner_kernels", "inner_refusal"]


@register_layer
class TimeDistributedFamily(LayerFamily):
    """``keras.layers.TimeDistributed``: the inner family's answers; units are on the last axis either way."""

    handles = (keras.layers.TimeDistributed,)
    passes_units = True
    has_own_units = True
    shareable = False
    own_work = ElementwiseWork.FREE

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return inner_kernels(layer.layer)

    def refusal(self, layer: Any) -> str:
        return inner_refusal(layer.layer)

    def obstacle(self, call: Call) -> str | None:
        family = unit_family(call.layer.layer)
        if family is None or not family.has_own_units:
            kind = type(call.layer.layer).__name__
            return f"{call.name!r} holds a {kind}, which is not known to have units of its own"
        return family.obstacle(_inner_call(call))

    def pins_output(self, call: Call) -> str | None:
        return _family(call).pins_output(_inner_call(call))

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return _family(call).constants(_inner_call(call), inputs)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return _family(call).dispensable(_inner_call(call), port, constants, kept_output)

    def why_constants_matter(self, call: Call) -> str:
        return _family(call).why_constants_matter(_inner_call(call))

    def zero_units(self, call: Call) -> np.ndarray:
        return _family(call).zero_units(_inner_call(call))

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return _family(call).wiring(_inner_call(call), numbers)

    def why_inexact(self, call: Call, cut: Cut) -> str | None:
        return _family(call).why_inexact(_inner_call(call), cut)

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        inner = call.layer.layer
        made = _family(call).replacement(_inner_call(call), cut)
        return Replacement({"layer": Changed(inner, made.config)}, made.weights)


def _family(call: Call) -> LayerFamily:
    family = unit_family(call.layer.layer)
    assert family is not None, "the obstacle was asked for first"
    return family


def _inner_call(call: Call) -> Call:
    return replace(call, layer=call.layer.layer)


def inner_kernels(inner: Any) -> tuple[Kernel, ...]:
    """Return the kernels of a layer inside another one; none where its family is not known."""
    family = family_of(inner)
    return family.kernels(inner) if family is not None else ()


def inner_refusal(inner: Any) -> str:
    """Return why a layer inside another one cannot be optimized, or ``''``."""
    family = family_of(inner)
    if family is None or not family.has_kernels:
        return f"the {type(inner).__name__} in it is not a supported layer type"
    reason = family.refusal(inner)
    return reason and f"of the {type(inner).__name__} in it: {reason}"
