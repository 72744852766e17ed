"""Layer attributes read off a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from fabricfit.description.attributes import (
    LayerAttributes,
    OptimizationAttributes,
)
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.hls4ml.config import read_hls4ml_attributes
from fabricfit.layers import Kernel, family_of
from fabricfit.layers.activations import work_of_activation
from fabricfit.network.connections import consumers_of, input_names, producers_of
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network, as_network, note_bit_operations

__all__ = [
    "describe_for_hls4ml",
    "describe_network",
    "get_attributes_from_keras_model",
    "get_attributes_from_keras_model_and_hls4ml_config",
]


def get_attributes_from_keras_model(model: keras.Model) -> dict[str, LayerAttributes]:
    """Describe every layer of a Keras model.

    Parameters
    ----------
    model
        A built Sequential or Functional model, nested models included.

    Returns
    -------
    dict
        Layer name -> :class:`LayerAttributes`, in the order of the model. A layer inside a nested
        model that shares its name with another goes by its path, ``'block/dense'``.

    Raises
    ------
    InvalidInputError
        The model is not built, or is a subclassed model that cannot be run on symbols.
    """
    return describe_network(as_network(model))


def get_attributes_from_keras_model_and_hls4ml_config(
    model: keras.Model, config: Mapping[str, Any]
) -> dict[str, LayerAttributes]:
    """Describe every layer of a Keras model as an hls4ml configuration would build it.

    Parameters
    ----------
    model
        A built Sequential or Functional model.
    config
        What ``hls4ml.utils.config_from_keras_model`` returns, at any granularity, with or without
        an ``'IOType'`` (``io_parallel`` where it is missing, which is hls4ml's default). A
        precision of ``'auto'`` stands for the quantizer's of a quantized layer, else for the
        model's default.

    Returns
    -------
    dict
        As :func:`get_attributes_from_keras_model`; layers with a kernel carry an
        :class:`hls4mlAttributes` as ``hls4ml``, or historically ``args['hls4ml_attributes']``.

    Raises
    ------
    InvalidInputError
        The configuration is not of the form that hls4ml writes, or names an unknown strategy.

    Warns
    -----
    A reuse factor that hls4ml does not allow for a layer is replaced by the one hls4ml would really
    use, and a warning names both.
    """
    return describe_for_hls4ml(as_network(model), config)


def describe_for_hls4ml(network: Network, config: Mapping[str, Any]) -> dict[str, LayerAttributes]:
    """Return what :func:`get_attributes_from_keras_model_and_hls4ml_config` returns, of a network."""
    described = describe_network(network)
    for attributes in described.values():
        if attributes.multiplies:
            attributes.hls4ml = read_hls4ml_attributes(config, attributes)
    return described


def describe_network(network: Network) -> dict[str, LayerAttributes]:
    """Return the attributes of every layer and kernel of a network.

    A layer of several kernels has attributes without a kernel, and each of its kernels has its own.
    """
    graph, names, kernels = network.graph, network.names, network.kernels
    producers, inputs = producers_of(graph, names), input_names(graph)
    calls = {id(call.layer): call for call in reversed(graph.calls)}
    shapes = first_shapes(graph)
    described = {}
    for name, layer in network.layers.items():
        own = kernels.get(name)
        described[name] = LayerAttributes(
            name,
            type(layer),
            [n for n in producers.get(id(layer), []) if n not in inputs],
            tuple(own.shape) if own is not None else (),
            *shapes.get(id(layer), ((), ())),
            False,
            OptimizationAttributes(),
            elementwise=_elementwise_work(layer, own is not None),
            consumers=consumers_of(graph, calls[id(layer)], names)
            if own is not None and id(layer) in calls
            else {},
            input_layers=tuple(n for n in producers.get(id(layer), []) if n in inputs),
        )
        if name in network.grouped:
            described[name] = _describe_kernel(described[name], kernels[name])
        parts = tuple(key for key, kernel in kernels.items() if key == f"{name}/{kernel.part}")
        for key in parts:
            described[key] = _describe_part(key, described[name], kernels[key])
        if parts:
            described[name].kernels = parts
    for attributes in described.values():
        if attributes.consumers:
            attributes.consumer_attributes = {
                name: described[name] for name in attributes.consumers
            }
    return described


def _elementwise_work(layer: keras.layers.Layer, has_kernel: bool) -> ElementwiseWork:
    family = family_of(layer)
    if family is not None:
        return family.elementwise_work(layer)
    alone = ElementwiseWork.FREE if has_kernel else ElementwiseWork.COMPARE
    return work_of_activation(getattr(layer, "activation", None), alone)


def _describe_kernel(layer: LayerAttributes, kernel: Kernel) -> LayerAttributes:
    """Return a layer's attributes with what its kernel says."""
    described = replace(
        layer,
        layout=kernel.layout,
        quantizer_precision=kernel.precision,
        trains_bits=bool(kernel.bits),
        known_positions=kernel.positions,
        looks_up=not kernel.multiplies,
        inner=kernel.inner,
        known_convolution=False if kernel.dense else None,
        strategies=kernel.strategies,
        weight_name=kernel.weight_name,
    )
    note_bit_operations(described, kernel)
    return described


def _describe_part(key: str, layer: LayerAttributes, kernel: Kernel) -> LayerAttributes:
    """Describe one of several kernels of a layer."""
    described = LayerAttributes(
        key,
        layer.layer_type,
        list(layer.inbound_layers),
        kernel.shape,
        layer.input_shape,
        layer.output_shape,
        kernel_of=layer.name,
        input_layers=layer.input_layers,
    )
    return _describe_kernel(described, kernel)


Shape = tuple[int | None, ...]


def first_shapes(graph: Graph) -> dict[int, tuple[Shape, Shape]]:
    """Return the shapes of each layer's first input and output, without the batch axis, by its id.

    Those of its first call count; the input of an input layer is its output.
    """
    found: dict[int, tuple[Shape, Shape]] = {}
    for call in graph.calls:
        made = call.outputs[0].shape[1:] if call.outputs else ()
        received = call.inputs[0].shape[1:] if call.inputs else made
        found.setdefault(id(call.layer), (received, made))
    for inner in graph.nested.values():
        for layer, shapes in first_shapes(inner).items():
            found.setdefault(layer, shapes)
    return found
