"""Reading a Keras model: its layers (nested ones included), their shapes and who feeds whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.keras.layers import Kernel, find_handler, shape_at
from fabricfit.keras.tracing import is_functional, traced

__all__ = [
    "check_model",
    "counted_kernels",
    "describe_model",
    "functional_graph",
    "kernel_arrays",
    "kernel_views",
    "kernels_of",
    "named_kernels",
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
    """Return the model if its layers and graph can be read, or a functional copy of a subclassed one.

    Raises
    ------
    InvalidTypeError
        It is no Keras model.
    InvalidInputError
        It is not built, or is a subclassed model that :func:`~fabricfit.keras.tracing.traced` refuses.
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
    elif not is_functional(model):
        return traced(model, argument)
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


def named_kernels(model: keras.Model) -> dict[str, Kernel]:
    """Return what is grouped of all layers of registered families.

    Returns
    -------
    dict
        The layer's name, or for one of several kernels ``'<layer>/<kernel>'`` -> kernel.
    """
    return dict(_walk_kernels(model, known_alone=True))


def kernels_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the kernels of all layers that have one, by the keys of :func:`named_kernels`.

    A layer of no registered family that has a ``kernel`` variable gives that.
    """
    return {name: kernel.variable for name, kernel in _walk_kernels(model)}


def kernel_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the kernels of all layers that have one as NumPy arrays, as the layers multiply by them."""
    return {name: kernel.used() for name, kernel in _walk_kernels(model)}


def counted_kernels(
    model: keras.Model, attributes: Mapping[str, LayerAttributes]
) -> dict[str, np.ndarray]:
    """Return :func:`kernel_arrays`, and note in the attributes what the model says of its bits now.

    Bit-widths of their own are trained with the weights, and an objective may count them.
    """
    for name, kernel in named_kernels(model).items():
        if kernel.bit_operations is not None and name in attributes:
            layer = attributes[name]
            layer.args = {**layer.args, **_args_of_bits(kernel)}
    return kernel_arrays(model)


def kernel_views(model: keras.Model) -> dict[str, np.ndarray]:
    """Return kernels as :func:`kernel_arrays` does, but copied only where the backend cannot share them.

    They are for reading, before the model is changed.
    """
    return {
        name: _view(kernel.variable) if kernel.quantizer is None else kernel.used()
        for name, kernel in _walk_kernels(model)
    }


def _walk_kernels(model: keras.Model, *, known_alone: bool = False) -> Iterator[tuple[str, Kernel]]:
    for name, layer in named_layers(model).items():
        handler = find_handler(layer)
        if handler is not None:
            for kernel in handler.kernels(layer):
                yield f"{name}/{kernel.part}" if kernel.part else name, kernel
        elif not known_alone and isinstance(getattr(layer, "kernel", None), keras.Variable):
            yield name, Kernel(layer.kernel, layer)


def _view(kernel: Any) -> np.ndarray:
    try:
        return np.asarray(keras.ops.stop_gradient(kernel.value))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return np.asarray(keras.ops.convert_to_numpy(kernel))


def describe_model(model: keras.Model) -> dict[str, LayerAttributes]:
    """Build the :class:`~fabricfit.attributes.LayerAttributes` of every layer and kernel.

    A layer of several kernels has attributes without a kernel, and each of its kernels has its own.
    """
    model = check_model(model)
    layers = named_layers(model)
    names = {id(layer): name for name, layer in layers.items()}
    known, kernels = named_kernels(model), kernels_of(model)
    after = _nodes_after(model)
    outputs = {id(t) for t in keras.tree.flatten(functional_graph(model).outputs)}
    described = {}
    for name, layer in layers.items():
        own = kernels.get(name)
        described[name] = LayerAttributes(
            name,
            type(layer),
            _inbound(layer, names),
            tuple(own.shape) if own is not None else (),
            shape_at(layer, "input"),
            shape_at(layer, "output"),
            False,
            OptimizationAttributes(),
            _args_of(layer),
            consumers=_consumers(layer, names, after, outputs) if own is not None else {},
        )
        if name in known:
            described[name].layout = known[name].layout
            described[name].update_args(_args_of_kernel(known[name]))
        parts = tuple(key for key, kernel in known.items() if key == f"{name}/{kernel.part}")
        for key in parts:
            described[key] = _describe_part(key, described[name], known[key])
        if parts:
            described[name].args["kernels"] = parts
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


def _args_of(layer: keras.layers.Layer) -> dict[str, Any]:
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return {} if activation in ("", "linear") else {"activation": activation}


def _args_of_kernel(kernel: Kernel) -> dict[str, Any]:
    args: dict[str, Any] = {}
    if kernel.precision is not None:
        args["quantizer_precision"] = kernel.precision
    if kernel.bits:
        args["trains_bits"] = True
    if kernel.bit_operations is not None:
        args |= _args_of_bits(kernel)
    if kernel.positions is not None:
        args["positions"] = kernel.positions
    if not kernel.multiplies:
        args["multiplies"] = False
    if kernel.inner:
        args["inner"] = True
    if kernel.dense:
        args["is_convolution"] = False
    if kernel.strategies:
        args["strategies"] = kernel.strategies
    if kernel.weight_name != "weight":
        args["weight_name"] = kernel.weight_name
    return args


def _args_of_bits(kernel: Kernel) -> dict[str, Any]:
    assert kernel.bit_operations is not None
    counted = kernel.bit_operations()
    return {"bit_operations": counted.of_weights, "other_bit_operations": counted.others}


def _describe_part(key: str, layer: LayerAttributes, kernel: Kernel) -> LayerAttributes:
    """Describe one of several kernels of a layer."""
    return LayerAttributes(
        key,
        layer.layer_type,
        list(layer.inbound_layers),
        kernel.shape,
        layer.input_shape,
        layer.output_shape,
        False,
        OptimizationAttributes(),
        {"layer_name": layer.name, **_args_of_kernel(kernel)},
        layout=kernel.layout,
    )


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
