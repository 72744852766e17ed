"""Units that stand or fall together, as pruning sees them: before anything is zero.

:mod:`~fabricfit.surgery.planning` asks which units of given weights can go. Here the question is which
units *could* go if their weights were zeroed, which weights those are, and which others go with them: the
filters that a residual sum ties to each other, the scale of a batch normalization behind them, the rows of
all kernels that receive them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from fabricfit.layers.units import Numbers
from fabricfit.network.cloning import copy_model
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network, as_network, read
from fabricfit.surgery.planning import Problem

__all__ = ["Coupling", "couple_units"]

PINNED = -1
"""The class of units that have to stay."""


@dataclass
class Coupling:
    """Classes of units of a model.

    Parameters
    ----------
    units
        Kernel -> class of each of its units, shape ``(n_units,)``; -1 for a unit that has to stay.
    rows
        Kernel -> class of each channel that it receives; its rows are so many for each channel.
    scales
        Layer and variable with a number for each unit (of a batch normalization) -> class of each.
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
    silent = _silenced(network)
    result, offset = Coupling(), 0
    names = network.names
    for graph, quiet in zip(_graphs(network.graph), _graphs(silent.graph), strict=True):
        offset = _add(result, graph, quiet, names, offset)
    return result


def _silenced(network: Network) -> Network:
    """Return a copy whose kernels, biases and scales are zero: as if every unit had been pruned."""
    copy = read(copy_model(network.model))
    for kernel in copy.grouped_kernels.values():
        for variable in (kernel.variable, kernel.bias):
            if variable is not None:
                variable.assign(np.zeros(variable.shape))
    for layer in copy.layers.values():
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.gamma, layer.beta):
                if variable is not None:
                    variable.assign(np.zeros(variable.shape))
    return copy


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for nested in graph.nested.values():
        yield from _graphs(nested)


def _add(
    result: Coupling, graph: Graph, quiet: Graph, names: Mapping[int, str], offset: int
) -> int:
    """Add the classes of one graph; return the number of the next free class."""
    problem = Problem(graph, {})
    held = problem.held(Problem(quiet, {}).constants)
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
