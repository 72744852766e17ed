"""Pooling over a whole feature map as global pooling, for which hls4ml's streams need accumulators only."""

from __future__ import annotations

import logging
from typing import Any

import keras

from fabricfit.network.cloning import copy_graph
from fabricfit.network.copying import copy_layer
from fabricfit.network.reader import Network, read

__all__ = ["replace_whole_pooling"]

logger = logging.getLogger(__name__)

_GLOBAL = {
    f"{kind}Pooling{n}D": f"Global{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2)
}


def replace_whole_pooling(network: Network) -> Network:
    """Return a network with the same function whose pooling over whole feature maps is global.

    With ``io_stream`` hls4ml holds all pixels of a pool in registers and adds or compares them at once, 64
    numbers for each channel of an 8 × 8 map; a global pooling keeps one sum for each channel. A pooling is
    replaced where its results are flattened, so that no axis is missed.

    Parameters
    ----------
    network
        What was read of a model, which is not changed.

    Returns
    -------
    Network
        That of a new, uncompiled model; the network that was given where there is no such pooling.
    """
    found = {id(call.layer) for call in network.graph.calls if _is_flattened(network, call)}
    found -= {id(call.layer) for call in network.graph.calls if not _is_flattened(network, call)}
    if not found:
        return network
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any) -> Any:
        if id(layer) in found:
            kind = getattr(keras.layers, _GLOBAL[type(layer).__name__])
            made = kind(name=layer.name, data_format=layer.data_format)
            logger.info("%r pools whole feature maps, and is now a global pooling.", layer.name)
        else:
            made = copy_layer(layer)
        pairs.append((layer, made))
        return made

    new = copy_graph(network.model, copy)
    for old, made in pairs:
        if old.weights:
            made.set_weights(old.get_weights())
    return read(new)


def _is_flattened(network: Network, call: Any) -> bool:
    """Whether a call pools whole feature maps, and nothing but flattening follows."""
    layer, graph = call.layer, network.graph
    if type(layer).__name__ not in _GLOBAL or type(layer).__module__.partition(".")[0] != "keras":
        return False
    first = layer.data_format == "channels_first"
    received = tuple(call.inputs[0].shape[2:] if first else call.inputs[0].shape[1:-1])
    if received != tuple(layer.pool_size):
        return False
    made = [tensor.index for tensor in call.outputs]
    readers = [reader for index in made for reader in graph.receivers(index)]
    return (
        bool(readers)
        and not set(made) & set(graph.outputs)
        and all(isinstance(reader.layer, keras.layers.Flatten) for reader in readers)
    )
