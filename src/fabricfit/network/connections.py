"""Which layers receive a layer's units, and which units are outputs of the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from fabricfit.layers import find_handler
from fabricfit.layers.calls import Call
from fabricfit.network.graph import Graph

__all__ = ["consumers_of", "output_layers", "producers_of"]

_UNIT_WISE = (
    "Activation",
    "ActivityRegularization",
    "AlphaDropout",
    "AveragePooling2D",
    "BatchNormalization",
    "Dropout",
    "ELU",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Identity",
    "LeakyReLU",
    "MaxPooling2D",
    "QActivation",
    "ReLU",
    "SpatialDropout2D",
)
"""Layers that work on each unit by itself, so that a removed unit is removed behind them too."""


def output_layers(graph: Graph) -> frozenset[int]:
    """Return the ids of the layers whose units are outputs of the model.

    The units of such a layer reach an output through nothing but layers without a matrix of weights, so
    that removing one would change the shape of an output.
    """
    return frozenset(_layers_behind(graph, graph.outputs)[0])


def _layers_behind(graph: Graph, tensors: Iterable[int]) -> tuple[set[int], set[int]]:
    """Follow tensors back to the layers that make their units.

    Returns
    -------
    layers : set of int
        Ids of those layers, also in nested models.
    inputs : set of int
        Positions of the inputs of the graph that reach the tensors without a matrix of weights between.
    """
    layers: set[int] = set()
    inputs: set[int] = set()
    pending, seen = list(tensors), set[int]()
    while pending:
        tensor = pending.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        call = graph.producer(tensor)
        if tensor in graph.inputs:
            inputs.add(graph.inputs.index(tensor))
        elif isinstance(call.layer, keras.Model):
            inner = graph.nested.get(call.name)
            if inner is None:
                continue
            place = [made.index for made in call.outputs].index(tensor)
            inside, through = _layers_behind(inner, (inner.outputs[place],))
            layers |= inside
            pending += [call.inputs[position].index for position in through]
        elif _mixes_units(call.layer):
            layers.add(id(call.layer))
        else:
            pending += [received.index for received in call.inputs]
    return layers, inputs


def _mixes_units(operation: Any) -> bool:
    """Return whether a layer's outputs are sums over its inputs: it holds a matrix of weights."""
    return isinstance(operation, keras.layers.Layer) and any(
        len(weight.shape) > 1 for weight in operation.weights
    )


def producers_of(graph: Graph, names: Mapping[int, str]) -> dict[int, list[str]]:
    """Return the names of the layers whose results each layer receives, by the layer's id."""
    found: dict[int, list[str]] = {}
    for call in graph.calls:
        known = found.setdefault(id(call.layer), [])
        for tensor in call.inputs:
            made_by = graph.producer(tensor.index).layer
            name = names.get(id(made_by), getattr(made_by, "name", ""))
            if name and name not in known:
                known.append(name)
    for inner in graph.nested.values():
        found.update(producers_of(inner, names))
    return found


def consumers_of(graph: Graph, call: Call, names: Mapping[int, str]) -> dict[str, int]:
    """Return the layers whose kernel rows vanish with a unit of a layer, and how many rows each.

    A layer that is called more than once has none: its units meet different rows each time. So has one
    whose units are outputs of the model.
    """
    if graph.times_called[id(call.layer)] != 1:
        return {}
    found: dict[str, int] = {}
    pending = [(tensor, 1) for tensor in call.outputs]
    while pending:
        tensor, repeats = pending.pop()
        if tensor.index in graph.outputs:
            return {}
        for receiver in graph.receivers(tensor.index):
            layer = receiver.layer
            kind = type(layer).__name__
            handler = find_handler(layer)
            if id(layer) in names and handler is not None:
                kernels = handler.kernels(layer)
                called_once = graph.times_called[id(layer)] == 1
                if called_once and [kernel.layout for kernel in kernels] == [None]:
                    name = names[id(layer)]
                    rows = repeats * math.prod(kernels[0].shape[:-2])
                    found[name] = found.get(name, 0) + rows
            elif kind in _UNIT_WISE:
                pending += [(made, repeats) for made in receiver.outputs]
            elif kind == "Flatten":
                spots = math.prod(length or 1 for length in tensor.shape[1:-1])
                pending += [(made, repeats * spots) for made in receiver.outputs]
    return found
