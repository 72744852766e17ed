"""Batch normalizations folded into the layers before them, as hls4ml builds them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from typing import Any

import keras
import numpy as np

from fabricfit.layers import family_of, scale_and_offset_of
from fabricfit.layers.calls import Call
from fabricfit.network.cloning import new_inputs, uncompiled
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network, read

__all__ = ["fold_normalizations", "folded_normalizations"]

logger = logging.getLogger(__name__)


def folded_normalizations(network: Network) -> dict[str, str]:
    """Return the batch normalizations that can be folded into the layer before them.

    That layer is a Dense or Conv2D without an activation, its result goes nowhere else, and both are
    called once, in the model itself and not in a nested one. Layers that quantize their own weights are
    of other types and keep their normalization.

    Returns
    -------
    dict
        Name of the layer -> name of the normalization behind it.
    """
    graph = network.graph
    found = {}
    for call in graph.calls:
        layer = call.layer
        family = family_of(layer)
        if family is None or not family.folds_normalization or graph.times_called[id(layer)] != 1:
            continue
        after = graph.receivers(call.output.index)
        if layer.activation is not keras.activations.linear or call.output.index in graph.outputs:
            continue
        if len(after) == 1 and _normalizes_units(after[0], graph):
            found[layer.name] = after[0].name
    return found


def fold_normalizations(network: Network, layers: Container[str] | None = None) -> Network:
    """Return a network with the same function in which batch normalizations are part of the weights.

    hls4ml folds them when it converts a model, so that what it multiplies by is not the kernel that was
    trained: weights that were equal, powers of two or on the grid no longer are. Folded beforehand, the
    kernel in Keras is the one in hardware.

    Parameters
    ----------
    network
        What was read of a model, which is not changed.
    layers
        Names of the layers into which normalizations are folded, where they can be; all by default.

    Returns
    -------
    Network
        That of a new, uncompiled model without the normalizations of :func:`folded_normalizations`; the
        one that was given where there are none. In training it no longer normalizes by the batch.
    """
    folded = {
        name: normalization
        for name, normalization in folded_normalizations(network).items()
        if layers is None or name in layers
    }
    if not folded:
        return network
    model, removed = network.model, set(folded.values())
    logger.info("folded into the layers before them: %s", ", ".join(map(repr, sorted(removed))))
    with uncompiled(model):
        new = _rebuild_without(model, folded, removed)
    for layer in new.layers:
        if layer.name not in folded:
            layer.set_weights(model.get_layer(layer.name).get_weights())
            continue
        before = model.get_layer(layer.name)
        kernel = np.asarray(keras.ops.convert_to_numpy(before.kernel), np.float64)
        bias = 0.0 if before.bias is None else np.asarray(keras.ops.convert_to_numpy(before.bias))
        found = scale_and_offset_of(model.get_layer(folded[layer.name]))
        assert found is not None, "no other layer is folded"
        scale, offset = found
        layer.kernel.assign((kernel * scale).astype(layer.kernel.dtype))
        layer.bias.assign((scale * bias + offset).astype(layer.bias.dtype))
    return read(new)


def _rebuild_without(model: Any, folded: dict[str, str], removed: set[str]) -> keras.Model:
    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in folded:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in removed else layer(*args, **kwargs)

    if isinstance(model, keras.Sequential):
        start = keras.Input(batch_shape=model.input_shape, dtype=model.inputs[0].dtype)
        layers = [copy(layer) for layer in model.layers if layer.name not in removed]
        return keras.Sequential([start, *layers], name=model.name)
    clone: Callable[..., keras.Model] = keras.models.clone_model
    return clone(model, new_inputs(model), clone_function=copy, call_function=call)


def _normalizes_units(call: Call, graph: Graph) -> bool:
    return graph.times_called[id(call.layer)] == 1 and scale_and_offset_of(call.layer) is not None
