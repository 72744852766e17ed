"""A copy of a model whose weights are those that the hardware multiplies by."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.emulation.fixed import NotModelledError
from fabricfit.firmware.emulation.weights import KerasWeights
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import Network, read

__all__ = ["with_hardware_weights"]


def with_hardware_weights(network: Network, hls_model: Any) -> tuple[Network, frozenset[str]]:
    """Return a copy of a model with weights in hls4ml's number formats, and the layers that have them.

    A batch normalization that hls4ml folded into the layer before it is folded in the copy too. Other layers
    keep their weights.
    """
    copied = read(copy_model(network.model))
    nodes = {node.name: node for node in hls_model.get_layers()}
    weights = KerasWeights(copied, frozenset(nodes))
    planned: list[tuple[Any, np.ndarray]] = []
    exact: dict[str, bool] = {}
    for name, kernel in copied.grouped_kernels.items():
        layer = name.partition("/")[0] if name not in copied.layers else name
        node = nodes.get(layer)
        if node is None or kernel.quantizer is not None:
            continue
        folded = weights.folded_into(layer)
        if folded and kernel.bias is None:
            exact[layer] = False
            continue
        try:
            found = [(kernel.variable, weights.kernel(node, kernel.part).to_float())]
            if not kernel.part and kernel.bias is not None:
                found.append((kernel.bias, weights.bias(node).to_float()))
        except (NotModelledError, InvalidInputError, KeyError):
            exact[layer] = False
            continue
        if any(tuple(variable.shape) != values.shape for variable, values in found):
            exact[layer] = False
            continue
        planned += found
        exact[layer] = exact.get(layer, True)
        for norm in folded:
            planned += _identity(norm)
    for variable, values in planned:
        variable.assign(values.astype(keras.backend.standardize_dtype(variable.dtype)))
    return copied, frozenset(name for name, known in exact.items() if known)


def _identity(norm: Any) -> list[tuple[Any, np.ndarray]]:
    """Return the weights with which a batch normalization does nothing."""
    ones: np.ndarray = np.ones(norm.moving_mean.shape)
    found = [(norm.moving_mean, 0 * ones), (norm.moving_variance, ones - norm.epsilon)]
    found += [(norm.gamma, ones)] if norm.scale else []
    return found + ([(norm.beta, 0 * ones)] if norm.center else [])
