"""A Keras model, read once: its layers, kernels and graph as frozen data that is handed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes, OptimizationAttributes
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.layers import Kernel, family_of
from fabricfit.network.connections import output_layers
from fabricfit.network.ends import Ends, read_ends
from fabricfit.network.graph import Graph, is_readable, read_graph
from fabricfit.network.node_names import NodeNames
from fabricfit.network.tracing import traced
from fabricfit.network.translation import is_translated, refuse_translated, translated

__all__ = [
    "Arrays",
    "Network",
    "as_network",
    "kernel_variables",
    "model_of",
    "name_layers",
    "read",
    "read_if_possible",
    "read_in_place",
]

Arrays = dict[str, np.ndarray]
"""Kernels by name."""


@dataclass(frozen=True, eq=False)
class Network:
    """A Keras model as data.

    It holds the model's own layers and variables, so that their present values are seen through it; how
    layers are connected, and which kernels there are, stays as it was read.

    Parameters
    ----------
    model
        The model: Sequential or Functional.
    graph
        Its calls and tensors.
    layers
        Name -> layer, those of nested models in the place of the models. A nested layer that shares its
        name with another goes by its path, ``'block/dense'``; a layer that is called several times
        appears once.
    kernels
        Name -> kernel of every layer that has one. One of several kernels of a layer goes by
        ``'<layer>/<kernel>'``.
    grouped
        Names of the kernels of known layer families, which can be divided into groups.
    ends
        Names, order, structure and shapes of the model's inputs and outputs.
    """

    model: keras.Model
    graph: Graph
    layers: Mapping[str, keras.layers.Layer]
    kernels: Mapping[str, Kernel]
    grouped: frozenset[str]
    ends: Ends

    @cached_property
    def names(self) -> dict[int, str]:
        """The names of the layers by their ids."""
        return {id(layer): name for name, layer in self.layers.items()}

    @property
    def grouped_kernels(self) -> dict[str, Kernel]:
        """The kernels of known layer families."""
        return {name: kernel for name, kernel in self.kernels.items() if name in self.grouped}

    @cached_property
    def times_called(self) -> dict[str, int]:
        """Number of times that one run of the model calls each layer."""
        return {name: self.graph.times_called[id(layer)] for name, layer in self.layers.items()}

    @cached_property
    def node_names(self) -> NodeNames:
        """The calls of the layers, each with the name that hls4ml gives to what it builds for it."""
        return NodeNames(self.model, self.graph)

    @cached_property
    def output_layers(self) -> frozenset[str]:
        """Names of the layers whose units are outputs of the model."""
        return frozenset(self.names[layer] for layer in output_layers(self.graph))

    @property
    def has_masked_outputs(self) -> bool:
        """Whether some outputs say which of their values count."""
        return any(self.graph.tensors[place].masked for place in self.graph.outputs)

    def kernel_arrays(self) -> dict[str, np.ndarray]:
        """Return the kernels as NumPy arrays, as the layers multiply by them now."""
        return {name: kernel.used() for name, kernel in self.kernels.items()}

    def kernel_views(self) -> dict[str, np.ndarray]:
        """Return :meth:`kernel_arrays`, copied only where the backend cannot share them.

        They are for reading, before the model is changed.
        """
        return {
            name: _view_kernel(kernel.variable) if kernel.quantizer is None else kernel.used()
            for name, kernel in self.kernels.items()
        }

    def optimizable_kernels(
        self, attributes: Mapping[str, LayerAttributes]
    ) -> dict[str, np.ndarray]:
        """Return the present kernels of the optimizable layers."""
        return {
            name: array
            for name, array in self.counted_kernels(attributes).items()
            if name in attributes and attributes[name].optimizable
        }

    def iterate_optimizable(
        self, attributes: Mapping[str, LayerAttributes]
    ) -> Iterator[tuple[str, Kernel, LayerAttributes, OptimizationAttributes]]:
        """Yield the name, kernel, attributes and groups of every kernel that is optimized."""
        for name, kernel in self.grouped_kernels.items():
            described = attributes.get(name)
            if described is not None and described.optimizable:
                settings = described.optimization_attributes
                assert settings is not None
                yield name, kernel, described, settings

    def counted_kernels(self, attributes: Mapping[str, LayerAttributes]) -> dict[str, np.ndarray]:
        """Return :meth:`kernel_arrays`, and note in the attributes what the model says of its bits now.

        Bit widths of their own are trained with the weights, and an objective may count them.
        """
        for name, kernel in self.grouped_kernels.items():
            if name in attributes:
                note_bit_operations(attributes[name], kernel)
        return self.kernel_arrays()


def note_bit_operations(layer: LayerAttributes, kernel: Kernel) -> None:
    """Note in a kernel's attributes the bit operations at its present bit widths, if it counts them."""
    if kernel.bit_operations is not None:
        layer.bit_operations, layer.other_bit_operations = kernel.bit_operations()


def as_network(model: keras.Model | Network, argument: str = "model") -> Network:
    """Return the network of a model that may have been read already."""
    return model if isinstance(model, Network) else read(model, argument)


def model_of(model: keras.Model | Network) -> keras.Model:
    """Return the model that may have been read already."""
    return model.model if isinstance(model, Network) else model


def read_if_possible(model: keras.Model | Network) -> Network | None:
    """Return the network of a model, ``None`` for one whose graph cannot be read as it is."""
    if isinstance(model, Network):
        return model
    return read(model) if is_readable(model) else None


def kernel_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the variables that hold a model's kernels, also of one whose graph cannot be read."""
    return {name: kernel.variable for name, (kernel, _) in _name_kernels(name_layers(model))}


def read(model: keras.Model, argument: str = "model") -> Network:
    """Read a Keras model.

    Parameters
    ----------
    model
        A built Sequential or Functional model, nested models included. A subclassed one is read as a
        functional copy, see :func:`~fabricfit.network.tracing.traced`, one with layers of PQuantML as a copy
        with others in their place, see :func:`~fabricfit.network.translation.translated`. The model is not
        changed.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidTypeError
        It is no Keras model.
    InvalidInputError
        It is not built, or is a subclassed model that cannot be run on symbols.
    """
    model = _require_readable(model, argument)
    layers = name_layers(model)
    kernels = dict(_name_kernels(layers))
    grouped = frozenset(name for name, (_, known) in kernels.items() if known)
    return Network(
        model,
        read_graph(model),
        layers,
        {name: kernel for name, (kernel, _) in kernels.items()},
        grouped,
        read_ends(model),
    )


def read_in_place(model: keras.Model) -> Network:
    """Return the network of a model that is to be changed itself.

    That of a subclassed model, which :func:`read` copies, has its own layers and kernels, and the graph of
    the copy.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        As for :func:`read`. Others stand for some of its layers, which cannot be changed themselves.
    """
    refuse_translated(model)
    network = read(model)
    if network.model is model:
        return network
    layers = name_layers(model)
    kernels = {name: kernel for name, (kernel, _) in _name_kernels(layers)}
    return replace(network, model=model, layers=layers, kernels=kernels)


def _require_readable(model: Any, argument: str) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise InvalidTypeError(
            f"{argument} must be a keras.Model of Keras 3. Received: {type(model)!r}"
        )
    if is_readable(model):
        return translated(model) if is_translated(model) else model
    if isinstance(model, keras.Sequential):
        raise InvalidInputError(
            f"{argument} {model.name!r} is not built, so that its shapes are not known: give it an Input, "
            "or call model.build(input_shape), before it is optimized."
        )
    model = traced(model, argument)
    return translated(model) if is_translated(model) else model


def name_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return all layers by name, those of nested models in the place of the models."""
    paths = {id(layer): (path, layer) for path, layer in reversed(list(_walk_layers(model, "")))}
    times = Counter(layer.name for _, layer in paths.values())
    return {
        layer.name if times[layer.name] == 1 else path: layer
        for path, layer in reversed(paths.values())
    }


def _walk_layers(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _walk_layers(layer, f"{path}/")
        else:
            yield path, layer


def _name_kernels(
    layers: Mapping[str, keras.layers.Layer],
) -> Iterator[tuple[str, tuple[Kernel, bool]]]:
    """Yield each kernel by name, and whether its layer is of a known family."""
    for name, layer in layers.items():
        family = family_of(layer)
        if family is not None and family.has_kernels:
            for kernel in family.kernels(layer):
                yield f"{name}/{kernel.part}" if kernel.part else name, (kernel, True)
        elif isinstance(getattr(layer, "kernel", None), keras.Variable):
            yield name, (Kernel(layer.kernel, layer), False)


def _view_kernel(kernel: Any) -> np.ndarray:
    try:
        return np.asarray(keras.ops.stop_gradient(kernel.value))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return np.asarray(keras.ops.convert_to_numpy(kernel))
