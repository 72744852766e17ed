"""Attention: four projections, each an einsum; a head is what all four compute of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras

from fabricfit.layers.base import Kernel, LayerHandler, register_layer
from fabricfit.layers.einsum import einsum_kernel

__all__ = ["AttentionHandler", "attention_kernels"]

L = keras.layers


class AttentionHandler(LayerHandler):
    """MultiHeadAttention and GroupQueryAttention."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is one of the two."""
        return layer_type in (L.MultiHeadAttention, L.GroupQueryAttention)

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the projections' kernels."""
        return attention_kernels(layer)


def attention_kernels(layer: Any) -> tuple[Kernel, ...]:
    """Return the projections' kernels; those of heads have ``(…, heads, size)`` as their results."""
    asked, given = _lengths(layer)
    return (
        _heads(layer._query_dense, "query", asked),
        _heads(layer._key_dense, "key", given),
        _heads(layer._value_dense, "value", given),
        replace(einsum_kernel(layer._output_dense, "output"), positions=asked),
    )


def _heads(dense: Any, part: str, positions: int) -> Kernel:
    return replace(einsum_kernel(dense, part, 1), positions=positions, inner=True)


def _lengths(layer: Any) -> tuple[int, int]:
    """Return how many positions ask, and how many are asked."""
    if not layer._inbound_nodes:
        return 1, 1
    tensors = layer._inbound_nodes[0].input_tensors
    asked, given = (
        math.prod(n or 1 for n in tensors[i].shape[1:-1]) for i in (0, min(1, len(tensors) - 1))
    )
    return asked, given


register_layer(AttentionHandler())
