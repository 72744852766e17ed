"""Rectifiers that are layers of their own, as the activations of the layers before them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras

from fabricfit.layers.calls import Call
from fabricfit.layers.units import Replacement
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network, read
from fabricfit.network.rebuild import rebuild

__all__ = ["fuse_rectifiers"]


def fuse_rectifiers(network: Network) -> Network:
    """Return a network with the same function whose layers rectify their own results.

    ``Dense(32)`` and ``ReLU()`` behind it are ``Dense(32, "relu")``, where nothing else receives the results
    in between; hls4ml builds the same of both. Behind a batch normalization that is folded, all rectifiers
    are layers of their own.

    Parameters
    ----------
    network
        What was read of a model without models inside it; it is not changed.

    Returns
    -------
    Network
        That of a new, uncompiled model; the network that was given where there is no such pair.
    """
    times = Counter(id(call.layer) for call in network.graph.calls)
    replacements: dict[int, Replacement] = {}
    removed: set[int] = set()
    for call in network.graph.calls:
        rectifier = _find_rectifier(call, network.graph)
        if rectifier is None or times[id(call.layer)] != 1 or times[id(rectifier)] != 1:
            continue
        replacements[id(call.layer)] = Replacement({"activation": "relu"}, call.layer.get_weights())
        removed.add(id(rectifier))
    if not removed:
        return network
    return read(rebuild(network.model, replacements, removed))


def _find_rectifier(call: Call, graph: Graph) -> Any | None:
    """Return the rectifier that alone receives the linear results of a plain layer of Keras."""
    layer = call.layer
    is_linear = getattr(layer, "activation", None) is keras.activations.linear
    if not (_is_of_keras(layer) and is_linear and layer.weights and call.plain):
        return None
    receivers = graph.receivers(call.output.index)
    if call.output.index in graph.outputs or len(receivers) != 1 or not receivers[0].plain:
        return None
    behind = receivers[0].layer
    return behind if _is_rectifier(behind) else None


def _is_of_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


def _is_rectifier(layer: Any) -> bool:
    if not _is_of_keras(layer):
        return False
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    is_activation = isinstance(layer, keras.layers.Activation)
    return is_activation and layer.activation is keras.activations.relu
