"""A copy of a model with other things done at its calls: the graph is run once on symbols."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import keras

from fabricfit.layers.calls import Call
from fabricfit.network.cloning import new_inputs, transfer, uncompiled
from fabricfit.network.copying import copy_layer
from fabricfit.network.graph import Graph, find_functional
from fabricfit.network.reader import Network

__all__ = ["Apply", "rewire"]

Apply = Callable[[Call, Any, tuple[Any, ...], dict[str, Any]], Any]
"""What is done at a call: the call, the copy of its layer, and the arguments, with new symbols in them."""


def rewire(
    network: Network,
    apply: Apply,
    begin: Callable[[int, Any], Any],
    replaced: Container[int] = (),
) -> keras.Model:
    """Return a functional model with copies of a network's layers; nested models become part of it.

    Parameters
    ----------
    network
        What was read of a model, which is not changed.
    apply
        Returns the results of a call.
    begin
        Returns what stands for an input of the model: its place, and its symbol.
    replaced
        Ids of layers that are not copied: ``apply`` is given the layers themselves, and does not call them.

    Raises
    ------
    InvalidInputError
        A layer cannot be copied.
    """
    original = network.model
    inputs = new_inputs(find_functional(original))
    copies: dict[int, Any] = {}
    names = network.names

    def copy(layer: Any) -> Any:
        if id(layer) in replaced:
            return layer
        if id(layer) not in copies:
            new = copies[id(layer)] = copy_layer(layer)
            new.name = names.get(id(layer), new.name).replace("/", "_")
        return copies[id(layer)]

    def run(graph: Graph, symbols: dict[int, Any]) -> list[Any]:
        for call in graph.calls:
            if not call.inputs:
                continue
            nested = graph.nested.get(call.name) if isinstance(call.layer, keras.Model) else None
            if nested is None:
                known = zip(call.node.input_tensors, call.inputs, strict=True)
                args, kwargs = call.node.arguments.fill_in(
                    {id(old): symbols[tensor.index] for old, tensor in known}
                )
                made = keras.tree.flatten(apply(call, copy(call.layer), args, kwargs))
            else:
                received = (symbols[tensor.index] for tensor in call.inputs)
                made = run(nested, dict(zip(nested.inputs, received, strict=True)))
            symbols |= {t.index: each for t, each in zip(call.outputs, made, strict=True)}
        return [symbols[index] for index in graph.outputs]

    with uncompiled(original):
        flat = [begin(place, each) for place, each in enumerate(keras.tree.flatten(inputs))]
        outputs = run(network.graph, dict(zip(network.graph.inputs, flat, strict=True)))
    for layer in network.layers.values():
        if id(layer) in copies and layer.variables:
            new = copies[id(layer)]
            name = new.name
            transfer(new, layer)
            new.name = name
    structure = keras.tree.pack_sequence_as(find_functional(original).output, outputs)
    return keras.Model(inputs, structure, name=original.name)
