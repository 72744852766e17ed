"""Differentiation on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fabricfit.curvature.autodiff import Pullback, Tensor

__all__ = ["compiled", "each", "vjp"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Trace into a graph, once for each set of shapes (no XLA: slower on CPU)."""
    traced = tf.function(function, autograph=False)
    graphs: dict[Any, Any] = {}

    def call(*arguments: Any) -> Any:
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        key = tuple((tensor.dtype, *tensor.shape) for tensor in tf.nest.flatten(tensors))
        if key not in graphs:
            graphs[key] = traced.get_concrete_function(*tensors)
        return graphs[key](*tensors)

    return call


def vjp(
    function: Callable[[list[Tensor]], tuple[Tensor, Any]],
    primals: Sequence[Tensor],
    *,
    twice: bool = False,
) -> tuple[Tensor, Any, Pullback]:
    """See :meth:`~fabricfit.curvature.autodiff.Autodiff.vjp`.

    Here every pullback can be differentiated, ``twice`` or not.
    """
    inputs = [tf.convert_to_tensor(primal) for primal in primals]
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        value, extra = function(inputs)

    def pullback(cotangent: Tensor) -> list[Tensor]:
        found = tape.gradient(
            value,
            inputs,
            output_gradients=cotangent,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [tf.convert_to_tensor(each) for each in found]  # those of embeddings are sparse

    return value, extra, pullback


def each(pullback: Pullback, cotangents: Tensor) -> list[Tensor]:
    """Write one backward pass after the other into the graph."""
    results = [pullback(cotangent) for cotangent in tf.unstack(cotangents)]
    return [tf.stack(column) for column in zip(*results, strict=True)]
