"""What a training of precision by tensor delivers: a plain Keras model, and hls4ml's configuration of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.layers.family import hands_on
from fabricfit.network.cloning import copy_model
from fabricfit.network.node_names import NamedCall
from fabricfit.network.reader import read
from fabricfit.precision.formats import (
    TensorFormat,
    find_extremes,
    find_tensor_formats,
    rounded_bias,
    rounded_weights,
    weight_format,
)
from fabricfit.precision.model import PrecisionModel

__all__ = ["Delivery", "deliver_by_tensor"]


@dataclass(frozen=True, eq=False)
class Delivery:
    """A network with its number formats.

    Parameters
    ----------
    model
        The model, its weights on their grids.
    hls_config
        hls4ml's configuration, with the formats of weights and tensors.
    formats
        Name of a layer -> the format of its results, of those that are rounded.
    """

    model: keras.Model
    hls_config: dict[str, Any]
    formats: dict[str, TensorFormat]


def deliver_by_tensor(
    made: PrecisionModel, inputs: list[np.ndarray], strategy: str = "distributed_arithmetic"
) -> Delivery:
    """Return the network that a model with one format a tensor has come to.

    Parameters
    ----------
    made
        A model that trained its precision, with the weights that count.
    inputs
        An array for each input: what occurs in them is what the formats hold, and beyond that they saturate.
    strategy
        hls4ml's strategy for all layers.

    Raises
    ------
    InvalidInputError
        A tensor has a format for each channel, or is rounded where hls4ml has no layer.
    """
    formats = find_tensor_formats(made, find_extremes(made, inputs))
    wide = [name for name, each in formats.items() if len(each) > 1]
    if wide:
        raise InvalidInputError(
            f"hls4ml has one number format for a layer's results. These have one for each channel: {wide}. "
            "Train with granularity 'tensor', or deliver quantizer layers of HGQ2."
        )
    network = read(copy_model(made.network.model))
    for name, wrapper in made.weights.items():
        kernel = network.kernels[name]
        (weights,) = rounded_weights(wrapper)
        kernel.variable.assign(weights)
        if kernel.bias is not None:
            kernel.bias.assign(rounded_bias(wrapper, formats[wrapper.source.name]))
    return Delivery(
        network.model, _make_config(made, network, formats, strategy), _by_layer(made, formats)
    )


def _by_layer(
    made: PrecisionModel, formats: dict[str, tuple[TensorFormat, ...]]
) -> dict[str, TensorFormat]:
    found = {}
    for name, call in made.makers.items():
        if call is None:
            raise InvalidInputError(
                f"{name!r} rounds what comes out of a nested model, where hls4ml has no layer of its own. "
                "Build the model without nesting."
            )
        found[call.name] = formats[name][0]
    return found


def _make_config(
    made: PrecisionModel,
    network: Any,
    formats: dict[str, tuple[TensorFormat, ...]],
    strategy: str,
) -> dict[str, Any]:
    results = {
        call.name: formats[name][0] for name, call in made.makers.items() if call is not None
    }
    layers: dict[str, Any] = {}
    for named in network.node_names.calls:
        precision = layers.setdefault(named.node, {})["Precision"] = {"result": "auto"}
        wrapper = made.weights.get(network.names.get(id(named.call.layer), ""))
        if wrapper is not None:
            (weights,) = rounded_weights(wrapper)
            kernel = network.kernels[network.names[id(named.call.layer)]]
            precision[kernel.weight_name] = _plain(weight_format(weights))
            if kernel.bias is not None:
                bias = np.asarray(keras.ops.convert_to_numpy(kernel.bias), np.float64)
                precision["bias"] = _plain(weight_format(bias))
            precision["accum"] = "auto"
            layers[named.node] |= {"Strategy": strategy, "ReuseFactor": 1}
        if named.activation:
            layers[named.activation] = {"Precision": {"result": "auto"}}
        for node in _nodes_of(named, results):
            layers[node]["Precision"]["result"] = str(results[named.call.name])
    return {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": strategy},
        "LayerName": layers,
    }


def _nodes_of(named: NamedCall, results: dict[str, TensorFormat]) -> list[str]:
    """Return the layer of hls4ml that makes a call's results, if they are rounded."""
    if named.call.name not in results or hands_on(named.call.layer):
        return []
    return [named.activation or named.node]


def _plain(format: TensorFormat) -> str:
    """Return a format that holds its numbers exactly, so that it neither rounds nor saturates."""
    sign = "" if format.signed else "u"
    return f"{sign}fixed<{format.width},{format.width - format.fractional}>"
