# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Embeddings: a unit is a column of a table, whatever the word."""

from __future__ import annotations

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    register,
    to_numpy,
)

__all__ = ["Table"]


@register
class Table(Rule):
    """A column that holds one number for all words is that constant."""

    handles = (keras.layers.Embedding,)
    has_own_units = True
    shareable = False

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
