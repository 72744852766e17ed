"""Which results of the generated code are which results of the Keras model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.firmware.simulation import Results
from fabricfit.layers.hgq import is_quantizer
from fabricfit.network.graph import Graph
from fabricfit.network.replay import tensor_names

__all__ = ["Observation", "Observations"]


@dataclass(frozen=True)
class Observation:
    """Results of the generated code for one tensor of the model.

    Parameters
    ----------
    values
        What it computed, samples first; the shape may be another.
    nodes
        The nodes of hls4ml's graph that computed it from what was observed before, the last one first.
    """

    values: np.ndarray
    nodes: tuple[Any, ...]


@dataclass(frozen=True)
class Observations:
    """All that was observed, by the index of the model's tensors.

    Parameters
    ----------
    results
        Results of layers.
    before_activation
        What the activation of a layer receives, where hls4ml computes it in a node of its own.
    """

    results: Mapping[int, Observation]
    before_activation: Mapping[int, Observation]

    @classmethod
    def of(cls, graph: Graph, hls_model: Any, results: Results) -> Observations:
        """Find out which node computes which tensor.

        hls4ml notes Keras' name of the tensor at the node that was made for it. Where it took layers away
        behind that node, such as a normalization that it folded, the node computes the tensor behind those.
        """
        nodes = list(hls_model.get_layers())
        claims = {
            name: node for node in nodes for name in node.attributes.get("output_keras_tensor_names") or ()
        }  # fmt: skip
        known = {node.name for node in nodes}
        ends = zip(hls_model.outputs, results.outputs, strict=True)
        last = dict(zip(graph.outputs, ends, strict=True))
        makers = {name: node for node in nodes for name in node.outputs}
        found: dict[int, Any] = {}
        before: dict[int, Any] = {}
        for call in graph.calls:
            for tensor, name in zip(call.outputs, tensor_names(call), strict=True):
                if f"{name}_activation" in claims:
                    before[tensor.index] = claims[f"{name}_activation"]
                if name in claims and call.inputs:
                    index = _follow(graph, tensor.index, claims, known)
                    found[index] = claims[name]
        for index, (name, _) in last.items():
            found.setdefault(index, makers.get(name))
        seen = {
            node.name for node in (*found.values(), *before.values())
            if node is not None and node.name in results.layers
        }  # fmt: skip
        observed = {}
        for index, node in found.items():
            values = results.layers.get(getattr(node, "name", ""))
            values = last[index][1] if index in last else values
            if node is not None and values is not None and _fits(graph, index, values):
                observed[index] = Observation(values, _trace_back(node, makers, seen))
        split = {
            index: Observation(results.layers[node.name], _trace_back(node, makers, seen))
            for index, node in before.items()
            if node.name in results.layers and _fits(graph, index, results.layers[node.name])
        }
        return cls(observed, split)


def _follow(graph: Graph, index: int, claims: Mapping[str, Any], known: set[str]) -> int:
    """Return the tensor behind the layers that hls4ml took away behind another one."""
    while index not in graph.outputs:
        receivers = graph.receivers(index)
        if len(receivers) != 1 or len(receivers[0].outputs) != 1:
            break
        (call,) = receivers
        (name,) = tensor_names(call)
        there = name in claims or f"{name}_activation" in claims
        if there or any(n == call.name or n.startswith(f"{call.name}_") for n in known):
            break
        if is_quantizer(call.layer):  # it becomes part of what is behind it
            break
        index = call.output.index
    return index


def _trace_back(node: Any, makers: Mapping[str, Any], seen: set[str]) -> tuple[Any, ...]:
    """Return a node and those before it back to what was observed."""
    found, waiting = [node], list(node.inputs)
    while waiting:
        before = makers.get(waiting.pop())
        if before is None or before.class_name in ("Input", "InputLayer"):
            continue
        if before.name not in seen and before not in found:
            found.append(before)
            waiting += before.inputs
    return tuple(found)


def _fits(graph: Graph, index: int, values: np.ndarray) -> bool:
    shape = graph.tensors[index].shape[1:]
    known = [length for length in shape if length is not None]
    return len(known) == len(shape) and math.prod(values.shape[1:]) == math.prod(known)
