"""Layer attributes read off a Keras model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from fabricfit.description.attributes import (
    LayerAttributes,
    OptimizationAttributes,
)
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.hls4ml.config import read_io_type, read_opened, read_precisions
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.streams import find_fifos
from fabricfit.layers import Kernel, family_of
from fabricfit.layers.activations import work_of_activation
from fabricfit.network.as_built import folded_by_hls4ml
from fabricfit.network.batch_norm import find_folds
from fabricfit.network.configuration import open_configuration
from fabricfit.network.connections import consumers_of
from fabricfit.network.node_names import NamedCall
from fabricfit.network.reader import Network, as_network, note_bit_operations

Shape = tuple[int | None, ...]

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
    model: keras.Model, config: ConfigurationLike
) -> dict[str, LayerAttributes]:
    """Describe every layer of a Keras model as an hls4ml configuration would build it.

    Parameters
    ----------
    model
        A built Sequential or Functional model.
    config
        What ``hls4ml.utils.config_from_keras_model`` returns, at any granularity, with or without
        an ``'IOType'`` (``io_parallel`` where it is missing, which is hls4ml's default); or a file of it,
        see :func:`~fabricfit.network.configuration.open_configuration`. A precision of ``'auto'`` stands for
        the quantizer's of a quantized layer, else for the model's default.

    Returns
    -------
    dict
        As :func:`get_attributes_from_keras_model`; layers with a kernel carry an
        :class:`hls4mlAttributes` as ``hls4ml``, or historically ``args['hls4ml_attributes']``.

    Raises
    ------
    InvalidInputError
        The configuration is not of the form that hls4ml writes, names an unknown strategy, or has a key
        or a section that fits nothing.

    Warns
    -----
    A reuse factor that hls4ml does not allow for a layer is replaced by the one hls4ml would really
    use, and a warning names both.
    """
    network = as_network(model)
    return describe_for_hls4ml(network, open_configuration(config, network))


def describe_for_hls4ml(network: Network, config: Mapping[str, Any]) -> dict[str, LayerAttributes]:
    """Return what :func:`get_attributes_from_keras_model_and_hls4ml_config` returns, of a network.

    The configuration is one that :func:`~fabricfit.network.configuration.open_configuration` returned.
    """
    described = describe_network(network)
    io_type = read_io_type(config)
    for call in (call for attributes in described.values() for call in attributes.calls):
        call.io_type = io_type
        call.received_precision, call.result_precision = read_precisions(config, call)
        if call.multiplies:
            call.hls4ml = read_opened(config, call)
    choose = folded_by_hls4ml(network, config, described)
    for fold in filter(None, map(choose, find_folds(network))):
        for scaling in fold.scalings:
            for call in described[network.names[id(scaling.layer)]].calls:
                call.elementwise = ElementwiseWork.FREE
    if io_type == "io_stream":
        find_fifos(described)
    return described


def describe_network(network: Network) -> dict[str, LayerAttributes]:
    """Return the attributes of every layer and kernel of a network.

    A layer of several kernels has attributes without a kernel, and each of its kernels has its own.
    """
    described: dict[str, LayerAttributes] = {}
    for name, layer in network.layers.items():
        calls = _describe_calls(network, name, layer)
        described[name] = replace(calls[0], further_calls=tuple(calls[1:]))
        parts = tuple(
            key for key, kernel in network.kernels.items() if key == f"{name}/{kernel.part}"
        )
        for key in parts:
            first, *others = (_describe_part(call, network.kernels[key]) for call in calls)
            described[key] = replace(first, further_calls=tuple(others))
        if parts:
            described[name].kernels = parts
    for attributes in described.values():
        if attributes.consumers:
            attributes.consumer_attributes = {
                name: described[name] for name in attributes.consumers
            }
    return described


def _describe_calls(
    network: Network, name: str, layer: keras.layers.Layer
) -> list[LayerAttributes]:
    """Describe a layer for each of its calls, or once where it is not called."""
    own, known = network.kernels.get(name), name in network.grouped
    found: list[LayerAttributes] = []
    for named in network.node_names.by_layer.get(id(layer), ()) or (None,):
        described = LayerAttributes(
            named.node if found and named is not None else name,
            type(layer),
            [] if named is None else _name_producers(network, named, inputs=False),
            tuple(own.shape) if own is not None else (),
            *_shapes_of(named),
            False,
            OptimizationAttributes(),
            node_name="" if named is None else named.node,
            elementwise=_elementwise_work(layer, own is not None),
            input_layers=()
            if named is None
            else tuple(_name_producers(network, named, inputs=True)),
        )
        if own is not None and named is not None and named.graph is network.graph:
            described.consumers = consumers_of(network.graph, named.call, network.names)
        if known and own is not None:
            described = _describe_kernel(described, own)
            _count_positions(described, found)
        found.append(described)
    return found


def _shapes_of(named: NamedCall | None) -> tuple[Shape, Shape]:
    """Return the shapes of a call's first input and output, without the batch axis.

    The input of an input layer is its output.
    """
    if named is None:
        return (), ()
    call = named.call
    made = call.outputs[0].shape[1:] if call.outputs else ()
    return call.inputs[0].shape[1:] if call.inputs else made, made


def _name_producers(network: Network, named: NamedCall, *, inputs: bool) -> list[str]:
    """Return the names of the layers whose results a call receives: input layers, or all the others."""
    found = [
        network.names.get(id(maker.layer), getattr(maker.layer, "name", ""))
        for maker in named.makers
        if isinstance(maker.layer, keras.layers.InputLayer) == inputs
    ]
    return list(dict.fromkeys(filter(None, found)))


def _count_positions(described: LayerAttributes, earlier: Sequence[LayerAttributes]) -> None:
    """Adapt the positions of a further call, which the kernel knows for the first one only."""
    if earlier and described.known_positions is not None:
        sizes = [math.prod(n or 1 for n in each.output_shape) for each in (described, earlier[0])]
        described.known_positions = max(described.known_positions * sizes[0] // sizes[1], 1)


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
        multiplies_inner=kernel.multiplies_inner,
        built_instead=kernel.built_instead,
        reuse_shape=kernel.reuse_shape,
        known_convolution=False if kernel.dense else None,
        strategies=kernel.strategies,
        weight_name=kernel.weight_name,
    )
    note_bit_operations(described, kernel)
    return described


def _describe_part(layer: LayerAttributes, kernel: Kernel) -> LayerAttributes:
    """Describe one of several kernels of a layer, for one of its calls."""
    described = LayerAttributes(
        f"{layer.name}/{kernel.part}",
        layer.layer_type,
        list(layer.inbound_layers),
        kernel.shape,
        layer.input_shape,
        layer.output_shape,
        kernel_of=layer.name,
        input_layers=layer.input_layers,
        node_name=layer.node_name,
    )
    return _describe_kernel(described, kernel)
