"""Build the smaller model: each layer anew from its configuration, with the weights that remain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from fabricfit.layers import unit_family
from fabricfit.layers.calls import Call
from fabricfit.layers.units import Replacement
from fabricfit.network.copying import copy_layer
from fabricfit.surgery.planning import Decision

__all__ = ["rebuild"]


def rebuild(
    model: keras.Model, decision: Decision, nested: Callable[[keras.Model], keras.Model | None]
) -> keras.Model:
    """Return a new model without the units that the decision removes.

    Parameters
    ----------
    model
        The model that the decision is about; it is not touched.
    decision
        What :func:`~fabricfit.surgery.planning.decide` found.
    nested
        Returns the replacement of a layer that is itself a model; ``None`` to copy it like any layer.

    Raises
    ------
    InvalidInputError
        A layer cannot be made anew from its configuration.
    """
    maker = _Maker(decision, nested)
    if isinstance(model, keras.Sequential):
        layers = [maker.make(call) for call in decision.graph.calls]
        new = keras.Sequential(layers, name=model.name)
    else:
        new = _rewire(model, decision, maker)
    new.dtype_policy = model.dtype_policy
    maker.load_weights()
    if not model.trainable:
        new.trainable = False
    return new


def _rewire(model: Any, decision: Decision, maker: _Maker) -> keras.Model:
    made: dict[int, Any] = {}
    for call in decision.graph.calls:
        layer = maker.make(call)
        if call.node.is_input:
            results = layer.output
        else:
            arguments, keywords = call.node.arguments.fill_in(made)
            results = layer(*arguments, **keywords)
        for old, new in zip(call.node.outputs, keras.tree.flatten(results), strict=True):
            made[id(old)] = new
    inputs, outputs = (
        keras.tree.map_structure(lambda tensor: made[id(tensor)], structure)
        for structure in (model.input, model.output)
    )
    return keras.Model(inputs, outputs, name=model.name)


class _Maker:
    """Makes each layer once, and loads the weights when all of them are built."""

    def __init__(
        self, decision: Decision, nested: Callable[[keras.Model], keras.Model | None]
    ) -> None:
        self._decision = decision
        self._nested = nested
        self._made: dict[int, Any] = {}
        self._weights: list[tuple[Any, list[Any]]] = []

    def make(self, call: Call) -> Any:
        layer = call.layer
        if id(layer) not in self._made:
            inner = self._nested(layer) if isinstance(layer, keras.Model) else None
            self._made[id(layer)] = inner if inner is not None else self._copy(call)
        return self._made[id(layer)]

    def load_weights(self) -> None:
        for layer, weights in self._weights:
            layer.set_weights(weights)
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()

    def _copy(self, call: Call) -> Any:
        replacement = self._replacement(call)
        new = copy_layer(call.layer, replacement.config)
        if replacement.weights:
            self._weights.append((new, replacement.weights))
        return new

    def _replacement(self, call: Call) -> Replacement:
        family = unit_family(call.layer)
        if family is not None and call.outputs and not call.node.is_input:
            cut = self._decision.cut(call)
            if cut.changes or self._decision.shrinks(call):
                return family.replacement(call, cut)
        get_weights = getattr(call.layer, "get_weights", list)
        return Replacement(weights=get_weights())
