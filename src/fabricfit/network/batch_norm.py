"""Batch normalizations folded into the layers before them, as hardware has them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from typing import Any

import keras
import numpy as np

from fabricfit.network.cloning import new_inputs, uncompiled
from fabricfit.network.walk import functional_graph

__all__ = ["fold_normalizations", "folded_normalizations", "scale_and_offset"]

logger = logging.getLogger(__name__)

_FOLDING = (keras.layers.Dense, keras.layers.Conv2D)


def folded_normalizations(model: keras.Model) -> dict[str, str]:
    """Return the batch normalizations that can be folded into the layer before them.

    That layer is a Dense or Conv2D without an activation, its result goes nowhere else, and both are
    used once, in the model itself and not in a nested one. Layers that quantize their own weights are
    of other types and keep their normalization.

    Returns
    -------
    dict
        Name of the layer -> name of the normalization behind it.
    """
    graph = functional_graph(model)
    receivers: dict[int, list[Any]] = {}
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            for tensor in node.input_tensors:
                receivers.setdefault(id(tensor), []).append(node.operation)
    outputs = {id(tensor) for tensor in keras.tree.flatten(graph.outputs)}
    found = {}
    for layer in graph.layers:
        if type(layer) not in _FOLDING or len(layer._inbound_nodes) != 1:
            continue
        after = receivers.get(id(layer.output), [])
        if layer.activation is not keras.activations.linear or id(layer.output) in outputs:
            continue
        if len(after) == 1 and _normalizes_units(after[0]):
            found[layer.name] = after[0].name
    return found


def fold_normalizations(model: keras.Model, layers: Container[str] | None = None) -> keras.Model:
    """Return a model with the same function in which batch normalizations are part of the weights.

    hls4ml folds them when it converts a model, so that what it multiplies by is not the kernel that was
    trained: weights that were equal, powers of two or on the grid no longer are. Folded beforehand, the
    kernel in Keras is the one in hardware.

    Parameters
    ----------
    model
        A built Sequential or Functional model. It is not changed.
    layers
        Names of the layers into which normalizations are folded, where they can be; all by default.

    Returns
    -------
    keras.Model
        A new, uncompiled model without the normalizations of :func:`folded_normalizations`; the model
        itself where there are none. In training it no longer normalizes by the batch.
    """
    folded = {
        name: normalization
        for name, normalization in folded_normalizations(model).items()
        if layers is None or name in layers
    }
    if not folded:
        return model
    gone = set(folded.values())
    logger.info("folded into the layers before them: %s", ", ".join(map(repr, sorted(gone))))
    with uncompiled(model):
        new = _without(model, folded, gone)
    for layer in new.layers:
        if layer.name not in folded:
            layer.set_weights(model.get_layer(layer.name).get_weights())
            continue
        before = model.get_layer(layer.name)
        kernel = np.asarray(keras.ops.convert_to_numpy(before.kernel), np.float64)
        bias = 0.0 if before.bias is None else np.asarray(keras.ops.convert_to_numpy(before.bias))
        scale, offset = scale_and_offset(model.get_layer(folded[layer.name]))
        layer.kernel.assign((kernel * scale).astype(layer.kernel.dtype))
        layer.bias.assign((scale * bias + offset).astype(layer.bias.dtype))
    return new


def scale_and_offset(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what a batch normalization multiplies by and adds, per channel, in its own float type."""
    mean, variance = _numpy(layer.moving_mean), _numpy(layer.moving_variance)
    gamma = _numpy(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = _numpy(layer.beta) if layer.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return scale, beta - scale * mean


def _without(model: Any, folded: dict[str, str], gone: set[str]) -> keras.Model:
    def copy(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in folded:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in gone else layer(*args, **kwargs)

    if isinstance(model, keras.Sequential):
        start = keras.Input(batch_shape=model.input_shape, dtype=model.inputs[0].dtype)
        layers = [copy(layer) for layer in model.layers if layer.name not in gone]
        return keras.Sequential([start, *layers], name=model.name)
    clone: Callable[..., keras.Model] = keras.models.clone_model
    return clone(model, new_inputs(model), clone_function=copy, call_function=call)


def _normalizes_units(operation: Any) -> bool:
    return (
        type(operation) is keras.layers.BatchNormalization
        and len(operation._inbound_nodes) == 1
        and operation.axis in (-1, len(operation.input.shape) - 1)
    )


def _numpy(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
