"""Reading a Keras model: its layers (nested ones included), their shapes and who feeds whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.keras.layers import find_handler

__all__ = [
    "check_model",
    "describe_model",
    "functional_graph",
    "kernel_arrays",
    "kernel_views",
    "kernels_of",
    "named_layers",
    "output_layers",
]

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


def check_model(model: Any, argument: str = "model") -> keras.Model:
    """Return the model if its layers and graph can be read.

    Raises
    ------
    InvalidTypeError
        It is no Keras model.
    InvalidInputError
        It is not built, or is a subclassed model.
    """
    if not isinstance(model, keras.Model):
        raise InvalidTypeError(
            f"{argument} must be a keras.Model of Keras 3. Received: {type(model)!r}"
        )
    if isinstance(model, keras.Sequential):
        if not model.built or not getattr(model, "_functional", None):
            raise InvalidInputError(
                f"{argument} {model.name!r} is not built: give it an Input, or call "
                "model.build(input_shape), before it is optimized."
            )
    elif not functional_graph(model):
        raise InvalidInputError(
            f"{argument} {model.name!r} is a subclassed model ({type(model).__name__}), whose "
            "graph cannot be read. Build it with the functional API: "
            "keras.Model(inputs, outputs)."
        )
    return model


def functional_graph(model: keras.Model) -> Any:
    """Return the functional model behind a Sequential or Functional one, else ``None``."""
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return all layers, those of nested models in the place of the models.

    Returns
    -------
    dict
        Name -> layer. A nested layer that shares its name with another goes by its path,
        ``'block/dense'``; a layer that is used several times appears once.
    """
    paths = {id(layer): (path, layer) for path, layer in reversed(list(_walk(model, "")))}
    taken = Counter(layer.name for _, layer in paths.values())
    return {
        layer.name if taken[layer.name] == 1 else path: layer
        for path, layer in reversed(paths.values())
    }


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{path}/")
        else:
            yield path, layer


def kernels_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the kernels of all layers that have one, by layer name.

    Layers of a registered family give the kernel that their handler names; any other layer with a
    ``kernel`` variable gives that.
    """
    kernels = {}
    for name, layer in named_layers(model).items():
        handler = find_handler(layer)
        kernel = handler.kernel(layer) if handler else getattr(layer, "kernel", None)
        if isinstance(kernel, keras.Variable):
            kernels[name] = kernel
    return kernels


def kernel_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the kernels of all layers that have one as NumPy arrays, by layer name."""
    return {
        name: np.asarray(keras.ops.convert_to_numpy(kernel))
        for name, kernel in kernels_of(model).items()
    }


def kernel_views(model: keras.Model) -> dict[str, np.ndarray]:
    """Return kernels as :func:`kernel_arrays` does, but copied only where the backend cannot share them.

    They are for reading, before the model is changed.
    """
    return {name: _view(kernel) for name, kernel in kernels_of(model).items()}


def _view(kernel: Any) -> np.ndarray:
    try:
        return np.asarray(keras.ops.stop_gradient(kernel.value))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return np.asarray(keras.ops.convert_to_numpy(kernel))


def describe_model(model: keras.Model) -> dict[str, LayerAttributes]:
    """Build the :class:`~fabricfit.attributes.LayerAttributes` of every layer."""
    check_model(model)
    layers = named_layers(model)
    names = {id(layer): name for name, layer in layers.items()}
    kernels = kernels_of(model)
    after = _nodes_after(model)
    outputs = {id(t) for t in keras.tree.flatten(functional_graph(model).outputs)}
    described = {}
    for name, layer in layers.items():
        kernel = kernels.get(name)
        described[name] = LayerAttributes(
            name,
            type(layer),
            _inbound(layer, names),
            tuple(kernel.shape) if kernel is not None else (),
            _shape(layer, "input"),
            _shape(layer, "output"),
            False,
            OptimizationAttributes(),
            {},
            consumers=_consumers(layer, names, after, outputs) if kernel is not None else {},
        )
        handler = find_handler(layer)
        precision = handler.kernel_precision(layer) if handler else None
        if precision is not None:
            described[name].args["quantizer_precision"] = precision
        activation = getattr(getattr(layer, "activation", None), "__name__", "")
        if activation not in ("", "linear"):
            described[name].args["activation"] = activation
    for attributes in described.values():
        # A Sequential model does not list its input among its layers.
        sources = [
            described[n].layer_type if n in described else keras.layers.InputLayer
            for n in attributes.inbound_layers
        ]
        if keras.layers.InputLayer in sources:
            attributes.args["reads_model_input"] = True
        if attributes.consumers:
            attributes.args["consumer_attributes"] = {
                name: described[name] for name in attributes.consumers
            }
    return described


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


def _shape(layer: keras.layers.Layer, side: str) -> tuple[int | None, ...]:
    """Shape of a layer's first input or output, without the batch axis."""
    nodes = layer._inbound_nodes
    received = [t for node in nodes for t in node.input_tensors] if side == "input" else []
    tensors = received or [t for node in nodes for t in node.outputs]  # an Input receives nothing
    return tuple(tensors[0].shape[1:]) if tensors else ()


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
            if id(operation) in names and find_handler(operation) is not None:
                if len(operation._inbound_nodes) == 1:
                    rows = repeats * math.prod(operation.kernel.shape[:-2])
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
