"""Questions about a Keras model: its sparsity, its last layers, the derivatives of its loss."""

from __future__ import annotations

import keras
import numpy as np

from fabricfit.curvature import get_model_gradients, get_model_hessians
from fabricfit.network.reader import Network, as_network

__all__ = [
    "get_last_layer_with_weights",
    "get_last_layers_with_weights",
    "get_model_gradients",
    "get_model_hessians",
    "get_model_sparsity",
]


def get_model_sparsity(model: keras.Model) -> tuple[float, dict[str, float]]:
    """Return the fraction of kernel weights that are exactly zero.

    Parameters
    ----------
    model
        A built Sequential or Functional model, nested models included.

    Returns
    -------
    sparsity : float
        Zero weights over all weights, in [0, 1]; 0 for a model without kernels.
    layers : dict
        Layer -> its own fraction, for every layer that has a kernel. Biases do not count.
    """
    zeros = weights = 0
    layers = {}
    for name, found in as_network(model).kernels.items():
        kernel = np.asarray(keras.ops.convert_to_numpy(found.variable))
        empty = kernel.size - int(np.count_nonzero(kernel))
        layers[name] = empty / kernel.size
        zeros += empty
        weights += kernel.size
    return zeros / weights if weights else 0.0, layers


def get_last_layers_with_weights(model: keras.Model) -> tuple[str, ...]:
    """Return the names of the layers whose units are outputs of the model.

    Found by graph for every output of a branching model: removing a unit of such a layer would change
    the shape of an output. Layers that only pass units on (activations, pooling, Add, Concatenate…)
    are looked through.
    """
    return _find_last_layers(as_network(model))


def get_last_layer_with_weights(model: keras.Model) -> int:
    """Return the position in ``model.layers`` of the last layer whose units are outputs.

    Parameters
    ----------
    model
        A built Sequential or Functional model. Where it has several outputs, or adds branches up at
        its end, more than one layer counts: see :func:`get_last_layers_with_weights`.

    Returns
    -------
    int
        Index into ``model.layers``; ``len(model.layers)`` if no layer has a kernel.
    """
    network = as_network(model)
    layers = [id(network.layers[name]) for name in _find_last_layers(network)]
    for index, layer in reversed(list(enumerate(network.model.layers))):
        inner = as_network(layer).layers.values() if isinstance(layer, keras.Model) else (layer,)
        if any(id(each) in layers for each in inner):
            return index
    return len(network.model.layers)


def _find_last_layers(network: Network) -> tuple[str, ...]:
    return tuple(name for name in network.layers if name in network.output_layers)
