# ruff: noqa: D102 - the methods are documented where Rule declares them
"""TimeDistributed: the layer inside, at every step."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    register,
    rule_for,
)

__all__ = ["EveryStep"]


@register
class EveryStep(Rule):
    """What the rule of the inner layer says; units are on the last axis with and without steps."""

    handles = (keras.layers.TimeDistributed,)
    has_own_units = True
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        inner, rule = _inside(call), rule_for(call.layer.layer)
        if rule is None or not rule.has_own_units:
            kind = type(call.layer.layer).__name__
            return f"{call.name!r} holds a {kind}, which is not known to have units of its own"
        return rule.obstacle(inner)

    def pins_output(self, call: Call) -> str | None:
        return _rule(call).pins_output(_inside(call))

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        return _rule(call).constants(_inside(call), inputs)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return _rule(call).dispensable(_inside(call), port, constants, kept_output)

    def why_constants_matter(self, call: Call) -> str:
        return _rule(call).why_constants_matter(_inside(call))

    def zero_units(self, call: Call) -> np.ndarray:
        return _rule(call).zero_units(_inside(call))

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return _rule(call).wiring(_inside(call), numbers)

    def refusal(self, call: Call, cut: Cut) -> str | None:
        return _rule(call).refusal(_inside(call), cut)

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        inner = call.layer.layer
        made = _rule(call).replacement(_inside(call), cut)
        smaller = type(inner).from_config(inner.get_config() | made.config)
        config = {"layer": keras.saving.serialize_keras_object(smaller)}
        return Replacement(config, made.weights)


def _rule(call: Call) -> Rule:
    rule = rule_for(call.layer.layer)
    assert rule is not None, "the obstacle was asked for first"
    return rule


def _inside(call: Call) -> Call:
    return replace(call, layer=call.layer.layer)
