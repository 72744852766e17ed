"""Connections between layers: who receives a layer's units, and whose units are outputs of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from fabricfit.layers import family_of, unit_family, why_units_stay
from fabricfit.layers.calls import Call, Tensor
from fabricfit.network.graph import Graph

__all__ = ["consumers_of", "output_layers"]


def output_layers(graph: Graph) -> frozenset[int]:
    """Return the ids of the layers whose units are outputs of the model.

    The units of such a layer reach an output through nothing but layers without a matrix of weights, so
    that removing one would change the shape of an output.
    """
    return frozenset(_find_layers_behind(graph, graph.outputs)[0])


def _find_layers_behind(graph: Graph, tensors: Iterable[int]) -> tuple[set[int], set[int]]:
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
            inside, through = _find_layers_behind(inner, (inner.outputs[place],))
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


def consumers_of(graph: Graph, call: Call, names: Mapping[int, str]) -> dict[str, int]:
    """Return the layers whose kernel rows are removed with a unit of a layer, and how many rows each.

    A unit passes through a call if every output unit that it is linked to has no other linked input unit. The
    number of output units for each input unit multiplies the rows: a Flatten makes one for each position. A
    layer that is called more than once has no consumers: its units meet other rows each time. Nor has one
    whose units are outputs of the model.
    """
    if graph.times_called[id(call.layer)] != 1 or len(call.outputs) != 1:
        return {}
    found: Counter[str] = Counter()
    pending = [(call.output, 1)]
    while pending:
        tensor, repeats = pending.pop()
        if tensor.index in graph.outputs:
            return {}
        receivers = {id(receiver): receiver for receiver in graph.receivers(tensor.index)}
        for receiver in receivers.values():
            rows = _rows_of_unit(receiver, tensor)
            if rows and graph.times_called[id(receiver.layer)] == 1 and id(receiver.layer) in names:
                found[names[id(receiver.layer)]] += repeats * rows
            elif copies := _copies_of_unit(receiver, tensor):
                pending.append((receiver.output, repeats * copies))
    return dict(found)


def _rows_of_unit(call: Call, tensor: Tensor) -> int:
    """Return how many rows of a layer's only kernel each unit of an input meets; 0 if it is no such layer."""
    family = family_of(call.layer)
    if family is None or not family.has_kernels:
        return 0
    if family.passes_units and not family.has_own_units:
        return 0
    kernels = family.kernels(call.layer)
    if len(kernels) != 1 or not kernels[0].multiplies:
        return 0
    axes = kernels[0].axes
    return axes.n_rows // tensor.units if axes.axes[axes.rows[-1]] == tensor.units else 0


def _copies_of_unit(call: Call, tensor: Tensor) -> int:
    """Return how many output units each unit of an input becomes; 0 if units do not pass one by one."""
    family = unit_family(call.layer)
    if family is None or why_units_stay(call) is not None or family.pins_output(call) is not None:
        return 0
    links = family.links(call)
    sources = np.zeros(call.output.units or 0, int)
    copies = np.zeros(tensor.units or 0, int)
    own = [link for link in links if call.inputs[link.port].index == tensor.index]
    for link in links:
        np.add.at(sources, link.outputs, 1)
    for link in own:
        np.add.at(copies, link.inputs, 1)
    shared = any((sources[link.outputs] > 1).any() for link in own)
    return 0 if shared or not own or np.ptp(copies) else int(copies[0])
