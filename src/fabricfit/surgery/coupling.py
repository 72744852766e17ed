"""Coupled units, before any of them is zero: those that can only be pruned together.

:mod:`~fabricfit.surgery.planning` finds which units can be removed with the present weights. This module
finds which units *could* be removed if their weights were zeroed, which weights those are, and which other
units are coupled to them: the filters that a residual sum adds, the scale of a batch normalization behind
them, the rows of all kernels that receive them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from fabricfit.layers import family_of
from fabricfit.layers.units import Numbers
from fabricfit.network.cloning import copy_model
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network, as_network, read
from fabricfit.surgery.planning import Problem

__all__ = ["Coupling", "couple_units"]

PINNED = -1
"""The number of units that have to stay."""


@dataclass
class Coupling:
    """The coupled units of a model, each set of them with a number.

    Parameters
    ----------
    units
        Kernel -> number of each of its units, shape ``(n_units,)``; -1 for a unit that has to stay.
    rows
        Kernel -> number of each channel that it receives, which may have several rows.
    scales
        Layer and variable with a value for each unit (of a batch normalization) -> number of each.
    reasons
        Kernel -> why units of it have to stay.
    """

    units: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def couple_units(model: keras.Model | Network) -> Coupling:
    """Find which units of a model can only be removed together, and which cannot be removed.

    Parameters
    ----------
    model
        A built Sequential or Functional model, nested models included; it is only read. Units do not reach
        across the border of a nested model: those that cross it stay.
    """
    network = as_network(model)
    zeroed = _zero_all_units(network)
    result, offset = Coupling(), 0
    names = network.names
    for graph, zero_graph in zip(_graphs(network.graph), _graphs(zeroed.graph), strict=True):
        offset = _add_graph(result, graph, zero_graph, names, offset)
    return result


def _zero_all_units(network: Network) -> Network:
    """Return a copy whose kernels, biases and scales are zero: as if every unit had been pruned."""
    copy = read(copy_model(network.model))
    for kernel in copy.grouped_kernels.values():
        for variable in (kernel.variable, kernel.bias):
            if variable is not None:
                variable.assign(np.zeros(variable.shape))
    for call in copy.graph.every_call():
        family = family_of(call.layer)
        for variable in family.scales(call) if family is not None else ():
            variable.assign(np.zeros(variable.shape))
    return copy


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for nested in graph.nested.values():
        yield from _graphs(nested)


def _add_graph(
    result: Coupling, graph: Graph, zero_graph: Graph, names: Mapping[int, str], offset: int
) -> int:
    """Add the coupled units of one graph; return the next free number."""
    problem = Problem(graph, {})
    held = problem.find_held(Problem(zero_graph, {}).constants)
    for index, family in problem.families.items():
        call = graph.calls[index]
        name = names.get(id(call.layer))
        if name is None:
            continue
        tensors = [problem.classes_of(tensor) for tensor in (*call.inputs, call.output)]
        numbers = Numbers(tuple(tensors[:-1]), tensors[-1], problem.inner_classes(index))
        wired = family.wiring(call, numbers)
        for part, (rows, units) in wired.items():
            key = f"{name}/{part}" if part else name
            pinned = np.isin(units, list(held))
            result.units[key] = np.where(pinned, PINNED, units + offset)
            if pinned.any():
                reasons = dict.fromkeys(held[int(unit)] for unit in units[pinned])
                result.reasons[key] = "; ".join(reasons)
            if rows is not None:
                kept = np.isin(rows, list(held))
                result.rows[key] = np.where(kept, PINNED, rows + offset)
        for variable in family.scales(call):
            units = tensors[-1]
            result.scales[name, variable.name] = np.where(
                np.isin(units, list(held)), PINNED, units + offset
            )
    return offset + problem.n_classes
