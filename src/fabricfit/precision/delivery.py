"""What a training of precision delivers: a model with its weights on their grids, and hls4ml's configuration.

With one format a tensor it is a plain Keras model, and the formats are in the configuration. With one a
channel, for which hls4ml's configuration has no words, quantizer layers of HGQ2 stand behind the layers whose
results are rounded; hls4ml converts them as they are.

Layers with products inside them, such as an LSTM, keep one format for all that they make: hls4ml gives states
and results the same. Where their results are rounded, a linear activation stands behind them, which has the
trained format; it changes nothing in Keras. Another one stands before an LSTM, whose code compiles only where
its input has the format of its states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.description.precision import FixedPrecision
from fabricfit.errors import InvalidInputError, require
from fabricfit.layers.calls import Call
from fabricfit.layers.units import to_numpy
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import Network, read
from fabricfit.network.rewiring import rewire
from fabricfit.precision.biases import (
    find_formats,
    formats_behind,
    is_rectifier,
    rounded_biases,
)
from fabricfit.precision.formats import TensorFormat, kif_of, weight_format
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.model import PrecisionModel, kernel_name

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
    added
        Names of layers that the given model has not: all that they do is round, or convert formats.
    """

    model: keras.Model
    hls_config: dict[str, Any]
    formats: dict[str, tuple[TensorFormat, ...]]
    added: frozenset[str]


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
    if by_channel:
        model = _add_quantizers(made, formats)
    elif any(wrapper.has_inner for wrapper in made.weights.values()):
        model = _add_conversions(made)
    else:
        model = copy_model(made.network.model)
    network, behind = read(model), formats_behind(made, formats)
    for name, wrapper in made.weights.items():
        biases = rounded_biases(wrapper, formats, behind.get(name))
        for product, bias in zip(wrapper.products, biases, strict=True):
            kernel = network.kernels[kernel_name(name, product.kernel)]
            kernel.variable.assign(product.weights)
            if bias is not None and kernel.bias is not None:
                kernel.bias.assign(bias)
    config = _make_config(made, network, formats, strategies or {}, by_channel=by_channel)
    results = {call.name: formats[name] for name, call in made.makers.items() if call is not None}
    added = network.layers.keys() - made.network.layers.keys()
    return Delivery(model, config, results, frozenset(added))


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
        overflow_mode=formats[0].overflow,
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


def _add_conversions(made: PrecisionModel) -> keras.Model:
    """Return a copy of the model with linear activations around layers that have products inside them."""
    names, layers = made.network.names, dict[str, keras.layers.Layer]()
    behind = {id(call.layer): name for name, call in _list_conversions(made)}

    def convert(symbol: Any, name: str) -> Any:
        layers.setdefault(name, keras.layers.Activation("linear", name=name))
        return layers[name](symbol)

    def apply(call: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = names.get(id(call.layer), call.name)
        if name in made.weights and _wants_inner_format(made.weights[name]):
            args = (convert(args[0], _name_of_input(name)), *args[1:])
        results = layer(*args, **kwargs)
        return convert(results, behind[id(call.layer)]) if id(call.layer) in behind else results

    return rewire(made.network, apply, lambda _, symbol: symbol)


def _list_conversions(made: PrecisionModel) -> Iterator[tuple[str, Call]]:
    """Yield the roundings that need a layer of their own, and the calls whose results they round."""
    for name, call in made.makers.items():
        if call is not None:
            wrapper = made.weights.get(made.network.names.get(id(call.layer), call.name))
            if wrapper is not None and wrapper.has_inner:
                yield name, call


def _wants_inner_format(wrapper: TrainedWeights) -> bool:
    return any(kernel.wants_inner_format for kernel in wrapper.kernels)


def _name_of_input(layer: str) -> str:
    """Return the name of the activation that stands before a layer."""
    return f"{layer.replace('/', '_')}_received"


def _find_inner(wrapper: TrainedWeights, formats: Formats) -> FixedPrecision:
    """Return the format of tensors inside a layer; where its input has to have it, it holds that, too."""
    inner = wrapper.inner
    if not _wants_inner_format(wrapper):
        return inner
    inputs = formats[wrapper.source.name]
    integer = max(inner.integer, *(each.signed_integer for each in inputs))
    fractional = max(inner.fractional, *(each.fractional for each in inputs))
    return FixedPrecision(integer + fractional, integer)


def _make_config(
    made: PrecisionModel,
    network: Network,
    formats: Formats,
    strategies: Mapping[str, str],
    *,
    by_channel: bool,
) -> dict[str, Any]:
    """Return hls4ml's configuration: formats of weights and, unless each channel has its own, of results."""
    results = {} if by_channel else _list_results(made, formats)
    layers: dict[str, Any] = {}
    for named in network.node_names.calls:
        section = layers.setdefault(named.node, {})
        precision = section["Precision"] = {"result": "auto"}
        name, activation = network.names.get(id(named.call.layer), ""), named.activation
        if name in made.weights:
            wrapper = made.weights[name]
            precision |= _list_precisions(name, wrapper, network)
            if wrapper.has_inner:
                inner = str(_find_inner(wrapper, formats))
                precision |= {"default": inner, "result": inner}
                activation = ""
            graph = not any(_STRATEGY in kernel.built_instead for kernel in wrapper.kernels)
            strategy = strategies.get(name, _STRATEGY if graph else "Latency")
            section |= {"Strategy": strategy, "ReuseFactor": 1}
        if activation:
            layers[activation] = {"Precision": {"result": "auto"}}
        if named.call.name in results:
            node = activation or named.node
            layers[node]["Precision"]["result"] = str(results[named.call.name])
    return {
        "Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": _STRATEGY},
        "LayerName": layers,
    }


def _list_results(made: PrecisionModel, formats: Formats) -> dict[str, Any]:
    """Return the formats of what calls of the delivered model return, where they are stated."""
    found: dict[str, Any] = {
        call.name: formats[name][0] for name, call in made.makers.items() if call is not None
    }
    for name, call in _list_conversions(made):
        found[name] = found.pop(call.name)
    for name, wrapper in made.weights.items():
        if _wants_inner_format(wrapper):
            found[_name_of_input(name)] = _find_inner(wrapper, formats)
    return found


def _list_precisions(name: str, wrapper: TrainedWeights, network: Network) -> dict[str, str]:
    """Return the formats of a layer's weights and biases, by hls4ml's names for them."""
    found = {} if wrapper.has_inner else {"accum": "auto"}
    for product in wrapper.products:
        kernel = network.kernels[kernel_name(name, product.kernel)]
        found[kernel.weight_name] = str(weight_format(product.weights).plain)
        if kernel.bias is not None:
            bias = to_numpy(kernel.bias)
            rows = bias if len(kernel.bias_names) > 1 else [bias]
            for bias_name, row in zip(kernel.bias_names, rows, strict=True):
                found[bias_name] = str(weight_format(row).plain)
    return found
