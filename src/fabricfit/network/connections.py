"""Which layers receive a layer's units, and which units are outputs of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras

from fabricfit.layers import find_handler
from fabricfit.network.walk import check_model, functional_graph, named_layers

__all__ = ["output_layers"]


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
"""Layers that work on each unit by itself, so that a removed unit is gone behind them too."""


def output_layers(model: keras.Model) -> set[str]:
    """Names of the layers whose units are outputs of the model.

    Found by graph, for every output: the units of such a layer reach an output through nothing but
    layers that work on each unit by itself (or change only how units are laid out), so that removing
    one would change the shape of an output.
    """
    check_model(model)
    layers = named_layers(model)
    names = {id(layer): name for name, layer in layers.items()}
    found: set[str] = set()
    pending = list(keras.tree.flatten(functional_graph(model).outputs))
    seen: set[int] = set()
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, index, _ = tensor._keras_history
        if isinstance(operation, keras.Model):
            pending += keras.tree.flatten(functional_graph(operation).outputs)
        if _mixes_units(operation):
            found.add(names[id(operation)])
        elif not isinstance(operation, keras.Model):
            pending += operation._inbound_nodes[index].input_tensors
    # A nested model's input leads out of it again.
    return found | _behind_nested_inputs(model, found, names)


def _mixes_units(operation: Any) -> bool:
    """Whether a layer's outputs are sums over its inputs: it holds a matrix of weights."""
    return (
        isinstance(operation, keras.layers.Layer)
        and not isinstance(operation, keras.Model)
        and any(len(weight.shape) > 1 for weight in operation.weights)
    )


def _behind_nested_inputs(model: keras.Model, found: set[str], names: dict[int, str]) -> set[str]:
    """Layers that feed a nested model which hands its input to an output of the model."""
    behind: set[str] = set()
    for layer in model.layers:
        if isinstance(layer, keras.Model) and functional_graph(layer):
            passes = any(
                isinstance(tensor._keras_history[0], keras.layers.InputLayer)
                for tensor in _ancestors_without_kernel(functional_graph(layer).outputs)
            )
            if passes:
                for node in layer._inbound_nodes:
                    for tensor in _ancestors_without_kernel(node.input_tensors):
                        operation = tensor._keras_history[0]
                        if _mixes_units(operation):
                            behind.add(names[id(operation)])
    return behind - found


def _ancestors_without_kernel(tensors: Any) -> Iterator[Any]:
    """Yield the tensors that lead to these through layers without a kernel, ends included."""
    pending, seen = list(keras.tree.flatten(tensors)), set()
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        yield tensor
        operation, index, _ = tensor._keras_history
        if not _mixes_units(operation) and not isinstance(operation, keras.Model):
            pending += operation._inbound_nodes[index].input_tensors


def _inbound(layer: keras.layers.Layer, names: dict[int, str]) -> list[str]:
    inbound: list[str] = []
    for node in layer._inbound_nodes:
        for tensor in node.input_tensors:
            operation = tensor._keras_history[0]
            name = names.get(id(operation), getattr(operation, "name", ""))
            if name and name not in inbound:
                inbound.append(name)
    return inbound


def _consumers(
    layer: keras.layers.Layer,
    names: dict[int, str],
    after: dict[int, list[Any]],
    outputs: set[int],
) -> dict[str, int]:
    """Layers whose kernel rows vanish with a unit of this layer, and how many rows each.

    ``after`` tells the nodes that receive a tensor, ``outputs`` the tensors that the model returns,
    both by id. A layer that is used more than once has none: its units meet different rows each time.
    """
    if len(layer._inbound_nodes) != 1:
        return {}
    found: dict[str, int] = {}
    pending = [(tensor, 1) for tensor in layer._inbound_nodes[0].outputs]
    while pending:
        tensor, repeats = pending.pop()
        if id(tensor) in outputs:
            return {}
        for node in after.get(id(tensor), ()):
            operation = node.operation
            kind = type(operation).__name__
            handler = find_handler(operation)
            if id(operation) in names and handler is not None:
                kernels = handler.kernels(operation)
                if len(operation._inbound_nodes) == 1 and [k.layout for k in kernels] == [None]:
                    rows = repeats * math.prod(kernels[0].shape[:-2])
                    found[names[id(operation)]] = found.get(names[id(operation)], 0) + rows
            elif kind in _UNIT_WISE:
                pending += [(out, repeats) for out in node.outputs]
            elif kind == "Flatten":
                spots = math.prod(tensor.shape[1:-1])
                pending += [(out, repeats * spots) for out in node.outputs]
    return found


def _nodes_after(model: keras.Model) -> dict[int, list[Any]]:
    """Tensor id -> nodes of the model's own graph that receive it."""
    after: dict[int, list[Any]] = {}
    graph = functional_graph(model)
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            for tensor in node.input_tensors:
                after.setdefault(id(tensor), []).append(node)
    return after
