"""Rescaling and Normalization as batch normalizations, which hls4ml knows."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np

from fabricfit.layers.normalization import read_scaling
from fabricfit.network.cloning import copy_graph
from fabricfit.network.copying import copy_layer
from fabricfit.network.reader import Network, read

__all__ = ["replace_scalings"]

logger = logging.getLogger(__name__)

Scaling = tuple[np.ndarray, np.ndarray]


def replace_scalings(network: Network) -> Network:
    """Return a network with the same function whose Rescaling and Normalization layers hls4ml can convert.

    Parameters
    ----------
    network
        What was read of a model, which is not changed.

    Returns
    -------
    Network
        That of a new, uncompiled model with a BatchNormalization layer of the same name in the place of each
        scaling by one number, or by one for each entry of the last axis. It does not train, so that its
        factors and offsets stay. The network that was given where there is none.
    """
    scalings = {
        id(call.layer): found
        for call in network.graph.calls
        if (found := _read_scaling(call.layer, call.inputs[0].shape if call.inputs else ()))
        is not None
    }
    if not scalings:
        return network
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any) -> Any:
        made = (
            keras.layers.BatchNormalization(epsilon=0.0, name=layer.name, trainable=False)
            if id(layer) in scalings
            else copy_layer(layer)
        )
        pairs.append((layer, made))
        return made

    new = copy_graph(network.model, copy)
    for old, made in pairs:
        if id(old) in scalings:
            scale, offset = scalings[id(old)]
            made.set_weights([scale, offset, np.zeros_like(scale), np.ones_like(scale)])
            logger.info("%r is now a batch normalization that does not train.", old.name)
        elif old.weights:
            made.set_weights(old.get_weights())
    return read(new)


def _read_scaling(layer: Any, shape: tuple[int | None, ...]) -> Scaling | None:
    """Return what each entry of the last axis is multiplied by and what is added to it."""
    known = isinstance(layer, keras.layers.Rescaling) or (
        isinstance(layer, keras.layers.Normalization) and layer.built
    )
    if not known or not keras.backend.is_float_dtype(layer.compute_dtype):
        return None
    return read_scaling(layer, shape[-1] if len(shape) > 1 else None)
