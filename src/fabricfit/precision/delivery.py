"""What a training of precision delivers: a model with its weights on their grids, and hls4ml's configuration.

With one format a tensor it is a plain Keras model, and the formats are in the configuration. With one a
channel, for which hls4ml's configuration has no words, quantizer layers of HGQ2 stand behind the layers whose
results are rounded; hls4ml converts them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, require
from fabricfit.layers.calls import Call
from fabricfit.layers.units import to_numpy
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import Network, read
from fabricfit.network.rewiring import rewire
from fabricfit.precision.biases import find_formats, formats_behind, is_rectifier, rounded_bias
from fabricfit.precision.formats import (
    TensorFormat,
    kif_of,
    rounded_weights,
    weight_format,
)
from fabricfit.precision.model import PrecisionModel

__all__ = ["Delivery", "deliver"]

Formats = Mapping[str, tuple[TensorFormat, ...]]

_STRATEGY = "distributed_arithmetic"


@dataclass(frozen=True, eq=False)
class Delivery:
    """A network with its number formats.

    Parameters
    ----------
    model
        The model, its weights on their grids.
    hls_config
        hls4ml's configuration, with the formats of weights, and of tensors that have one each.
    formats
        Name of a layer whose results are rounded -> the format of each channel, or one for all.
    """

    model: keras.Model
    hls_config: dict[str, Any]
    formats: dict[str, tuple[TensorFormat, ...]]


def deliver(
    made: PrecisionModel,
    inputs: Sequence[np.ndarray],
    strategies: Mapping[str, str] | None = None,
    formats: Formats | None = None,
) -> Delivery:
    """Return the network that a model that trained its precision has come to.

    Parameters
    ----------
    made
        The model, with the weights that count.
    inputs
        An array for each input: what occurs in them is what the formats hold, and beyond that they saturate.
    strategies
        Layer -> hls4ml's strategy, ``'distributed_arithmetic'`` by default.
    formats
        Name of each rounding -> the format of each channel, where they are known; else they are found.

    Raises
    ------
    InvalidInputError
        What comes out of a nested model is rounded, where hls4ml has no layer.
    MissingExtraError
        A tensor has a format for each channel, and HGQ2 is not installed.
    """
    inside = [name for name, call in made.makers.items() if call is None]
    if inside:
        raise InvalidInputError(
            f"what comes out of a nested model is rounded ({inside[0]!r}), where hls4ml has no layer of its "
            "own. Build the model without nesting."
        )
    if formats is None:
        formats = find_formats(made, inputs)
    by_channel = any(len(each) > 1 for each in formats.values())
    model = _add_quantizers(made, formats) if by_channel else copy_model(made.network.model)
    network, behind = read(model), formats_behind(made, formats)
    for name, wrapper in made.weights.items():
        kernel = network.kernels[name]
        kernel.variable.assign(rounded_weights(wrapper)[0])
        if kernel.bias is not None:
            bias = rounded_bias(wrapper, formats[wrapper.source.name], behind.get(name))
            kernel.bias.assign(bias)
    results = {call.name: formats[name] for name, call in made.makers.items() if call is not None}
    config = _make_config(made, network, {} if by_channel else results, strategies or {})
    return Delivery(model, config, results)


def _add_quantizers(made: PrecisionModel, formats: Formats) -> keras.Model:
    """Return a copy of the model with HGQ2's quantizers where tensors are rounded."""
    layers = {
        id(call.layer): _make_quantizer(formats[name], name)
        for name, call in made.makers.items()
        if call is not None
    }

    def apply(call: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        results = _plain_rectifier(layer)(*args, **kwargs)
        quantizer = layers.get(id(call.layer))
        return results if quantizer is None else quantizer(results)

    def begin(place: int, symbol: Any) -> Any:
        graph = made.network.graph
        quantizer = layers.get(id(graph.producer(graph.inputs[place]).layer))
        return symbol if quantizer is None else quantizer(symbol)

    model = rewire(made.network, apply, begin)
    for name, call in made.makers.items():
        if call is not None:
            _set_formats(layers[id(call.layer)].quantizer, formats[name])
    return model


def _plain_rectifier(layer: Any) -> Any:
    """Return a ReLU layer without options as an activation, which hls4ml builds rightly beside quantizers."""
    if isinstance(layer, keras.layers.ReLU) and is_rectifier(layer):
        return keras.layers.Activation("relu", name=layer.name)
    return layer


def _make_quantizer(formats: tuple[TensorFormat, ...], name: str) -> Any:
    """Return a quantizer layer of HGQ2 with formats along the last axis, or one for all."""
    quantizers = require("hgq.quantizer", "hgq", "A number format for each channel")
    return quantizers.Quantizer(
        "kif",
        "datalane",
        k0=1,
        i0=1,
        f0=1,
        ic=None,
        fc=None,
        ir=None,
        fr=None,
        round_mode=formats[0].rounding,
        overflow_mode="SAT",
        homogeneous_axis=None,
        heterogeneous_axis=(-1,) if len(formats) > 1 else (),
        trainable=False,
        name=name,
    )


def _set_formats(quantizer: Any, formats: tuple[TensorFormat, ...]) -> None:
    """Set the sign, the bits before the point without it, and those after it."""
    variables = (quantizer._k, quantizer._i, quantizer._f)
    for variable, values in zip(variables, kif_of(formats), strict=True):
        variable.assign(values.reshape(variable.shape))


def _make_config(
    made: PrecisionModel, network: Network, results: Formats, strategies: Mapping[str, str]
) -> dict[str, Any]:
    """Return hls4ml's configuration: formats of weights, and of the results of layers that are given."""
    layers: dict[str, Any] = {}
    for named in network.node_names.calls:
        precision = layers.setdefault(named.node, {})["Precision"] = {"result": "auto"}
        name = network.names.get(id(named.call.layer), "")
        if name in made.weights:
            (weights, *_), kernel = rounded_weights(made.weights[name]), network.kernels[name]
            precision[kernel.weight_name] = str(weight_format(weights).plain)
            if kernel.bias is not None:
                precision["bias"] = str(weight_format(to_numpy(kernel.bias)).plain)
            precision["accum"] = "auto"
            strategy = strategies.get(name, _STRATEGY)
            layers[named.node] |= {"Strategy": strategy, "ReuseFactor": 1}
        if named.activation:
            layers[named.activation] = {"Precision": {"result": "auto"}}
        if named.call.name in results:
            node = named.activation or named.node
            layers[node]["Precision"]["result"] = str(results[named.call.name][0])
    return {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": _STRATEGY},
        "LayerName": layers,
    }
