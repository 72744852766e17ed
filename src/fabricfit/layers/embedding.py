"""Embeddings: a table ``(words, size)``, of which a unit is a column."""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.layers.base import Kernel, LayerHandler, register_layer
from fabricfit.layers.dense import why_not_its_own

__all__ = ["EmbeddingHandler"]


class EmbeddingHandler(LayerHandler):
    """``keras.layers.Embedding``."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is Embedding itself."""
        return layer_type is keras.layers.Embedding

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the table, which is looked up."""
        return (
            Kernel(
                layer.embeddings,
                layer,
                regularizer="embeddings_regularizer",
                weight_name="embeddings",
                multiplies=False,
            ),
        )

    def refusal(self, layer: Any) -> str:
        """Refuse a table that is not a float tensor of its own."""
        return why_not_its_own(layer)


register_layer(EmbeddingHandler())
