"""The names that hls4ml gives to what it builds of a model: one for each call of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from fabricfit.layers.calls import Call
from fabricfit.network.graph import Graph

__all__ = ["NamedCall", "NodeNames"]

_RESERVED = frozenset("input")
"""Names that hls4ml 1.3 takes for used from the start: it means the one word, and has its letters."""


@dataclass(frozen=True)
class NamedCall:
    """One call of a layer.

    Parameters
    ----------
    call
        The call.
    node
        What hls4ml calls the layer that it builds for it.
    activation
        What it calls the layer of the activation that it splits off; empty where there is none.
    graph
        The graph that the call is in: that of the model, or of one inside it.
    """

    call: Call
    node: str
    activation: str
    graph: Graph

    @property
    def makers(self) -> tuple[Call, ...]:
        """The calls whose results it receives."""
        return tuple(self.graph.producer(tensor.index) for tensor in self.call.inputs)


@dataclass(frozen=True)
class NodeNames:
    """The calls of a model in the order in which hls4ml converts them.

    Parameters
    ----------
    model
        The model.
    graph
        Its graph. A nested model stands for its own calls, once for each time that it is called.
    """

    model: keras.Model
    graph: Graph

    @cached_property
    def calls(self) -> tuple[NamedCall, ...]:
        """Every call, named."""
        used: set[str] = set(_RESERVED)

        def unique(name: str) -> str:
            number, found = 0, name
            while found in used:
                found, number = f"{name}_{number}", number + 1
            used.add(found)
            return found

        found = []
        for call, graph in _iterate_in_order(self.model, self.graph):
            node, activation = unique(str(call.layer.name)), _name_activation(call.layer)
            found.append(NamedCall(call, node, unique(activation) if activation else "", graph))
        return tuple(found)

    @cached_property
    def by_node(self) -> dict[str, NamedCall]:
        """The calls by the names that hls4ml gives them."""
        return {named.node: named for named in self.calls}

    @cached_property
    def by_layer(self) -> dict[int, tuple[NamedCall, ...]]:
        """The calls of each layer, by the layer's id."""
        found: dict[int, tuple[NamedCall, ...]] = {}
        for named in self.calls:
            found[id(named.call.layer)] = (*found.get(id(named.call.layer), ()), named)
        return found


def _name_activation(layer: Any) -> str:
    """Return what hls4ml calls the activation that it splits off a layer; empty where there is none."""
    if isinstance(layer, keras.layers.Activation):
        return ""
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    return "" if name in ("", "linear") else f"{layer.name}_{name}"


def _iterate_in_order(model: Any, graph: Graph) -> Iterator[tuple[Call, Graph]]:
    """Iterate over all calls as hls4ml does: the first of the model's list whose inputs are there, again."""
    function = model._functional if isinstance(model, keras.Sequential) else model
    places = {id(layer): place for place, layer in enumerate(function.layers)}

    def place(call: Call) -> tuple[int, int]:
        nodes = getattr(call.layer, "_inbound_nodes", [])
        number = next((n for n, node in enumerate(nodes) if node is call.node), 0)
        return places.get(id(call.layer), len(places)), number

    pending, there = sorted(graph.calls, key=place), set[int]()
    while pending:
        call = next(
            (c for c in pending if all(t.index in there for t in c.inputs)),
            pending[0],
        )
        pending.remove(call)
        there.update(tensor.index for tensor in call.outputs)
        inner = graph.nested.get(call.name) if isinstance(call.layer, keras.Model) else None
        if inner is None:
            yield call, graph
        else:
            yield from _iterate_in_order(call.layer, inner)
