# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Embeddings: a table ``(words, size)``, of which a unit is a column, whatever the word."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily, register_layer
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.product import why_not_trained
from fabricfit.layers.units import Constants, Cut, Numbers, Replacement, Wiring, to_numpy

__all__ = ["EmbeddingFamily"]


@register_layer
class EmbeddingFamily(LayerFamily):
    """``keras.layers.Embedding``: a column that holds one number for all words is that constant."""

    handles = (keras.layers.Embedding,)
    passes_units = True
    has_own_units = True
    shareable = False
    piecewise_linear = True
    multiplies = False
    own_work = ElementwiseWork.FREE

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
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
        return why_not_trained(layer)

    def obstacle(self, call: Call) -> str | None:
        if call.layer.mask_zero:
            return f"{call.name!r} makes a mask (mask_zero=True)"
        if len(call.layer.weights) != 1:
            return f"{call.name!r} has weights other than its table"
        return None

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        table = to_numpy(call.layer.embeddings)
        return np.where((table == table[0]).all(axis=0), table[0], np.nan)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        return np.zeros(constants.shape, bool)

    def zero_units(self, call: Call) -> np.ndarray:
        return (to_numpy(call.layer.embeddings) == 0).all(axis=0)

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {"": Wiring(None, numbers.output)}

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        table = call.layer.get_weights()[0][:, cut.kept_output]
        return Replacement({"output_dim": table.shape[1]}, [table])
