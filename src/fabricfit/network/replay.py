"""A model run call by call, each call on results that may come from elsewhere, such as from hardware."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.network.graph import Graph

__all__ = ["replay", "replay_call", "split_activation", "tensor_names"]


def replay(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return a model's outputs, in the order of ``keras.tree.flatten``, as float64.

    Parameters
    ----------
    graph
        The model's calls.
    inputs
        An array for each input, samples first.
    """
    numbers = dict(zip(graph.inputs, map(np.asarray, inputs), strict=True))
    for call in graph.calls:
        if call.inputs:
            made = replay_call(call, numbers)
            numbers |= {t.index: x for t, x in zip(call.outputs, made, strict=True)}
    return [np.asarray(numbers[index], np.float64) for index in graph.outputs]


def tensor_names(call: Call) -> tuple[str, ...]:
    """Return Keras' own names of the tensors that a call makes, which hls4ml's graph refers to."""
    return tuple(str(tensor.name) for tensor in call.node.output_tensors)


def replay_call(call: Call, results: Mapping[int, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return what a call makes of the given results of the calls before it.

    Parameters
    ----------
    call
        A call of a :class:`~fabricfit.network.graph.Graph`, not that of an input layer.
    results
        Index of each tensor that the call receives -> its numbers, samples first.
    """
    numbers = {
        id(tensor): keras.ops.convert_to_tensor(results[known.index].astype(_dtype_of(tensor)))
        for tensor, known in zip(call.node.input_tensors, call.inputs, strict=True)
    }
    args, kwargs = call.node.arguments.fill_in(numbers)
    made = keras.tree.flatten(call.layer(*args, **kwargs))
    return tuple(np.asarray(keras.ops.convert_to_numpy(each), np.float64) for each in made)


@contextmanager
def split_activation(layer: Any) -> Iterator[Any]:
    """Let a layer that nobody else uses return what its activation receives; the activation is yielded.

    ``None`` is yielded, and nothing changed, where the layer does not end in an activation
    that could be split off.
    """
    activation = getattr(layer, "activation", None)
    is_inside = isinstance(getattr(type(layer), "activation", None), property)  # that of a cell
    if is_inside or not callable(activation) or activation is keras.activations.linear:
        yield None
        return
    layer.activation = keras.activations.linear
    try:
        yield activation
    finally:
        layer.activation = activation


def _dtype_of(tensor: Any) -> str:
    dtype = str(keras.backend.standardize_dtype(tensor.dtype))
    return "float32" if dtype == "bfloat16" else dtype  # NumPy has none; the layer casts it itself
