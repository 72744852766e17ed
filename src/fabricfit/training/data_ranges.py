"""Ranges of quantizers that follow the data, measured on all samples instead of the last batch.

HGQ2's quantizers of data with overflow mode ``WRAP`` keep the integer bits that the last batch of training
needed; whatever is larger wraps around when the model is evaluated. Measured on all training samples, as
``hgq.utils.trace_minmax`` does before a model is converted, they are those that the hardware would have.

References
----------
C. Sun et al., "Gradient-based automatic mixed precision quantization for neural networks on-chip", 2024,
arXiv:2405.00645.
"""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.network.cloning import every_layer
from fabricfit.samples import Dataset, tensors
from fabricfit.training.backends import changes_state_in_loops
from fabricfit.training.engine import Engine, assign_all

__all__ = ["DataRanges"]

_STREAM_SAMPLES = 2**14
"""Samples of a stream on which ranges are measured; of arrays all are used."""

_BATCH_SIZE = 4096
_NO_RANGE = -1e9
"""Integer bits of a quantizer that has seen no data."""


class DataRanges:
    """Measures the ranges of the quantizers of an engine's model that follow the data.

    Parameters
    ----------
    engine
        Whose model it is.
    data
        Samples that the ranges have to cover.
    """

    def __init__(self, engine: Engine, data: Dataset) -> None:
        self._model = engine.model
        found = [each for each in every_layer(engine.model) if _follows_data(each)]
        self._ranges = [variable for each in found for variable in (each._i, each._k)]
        self._data = data.arrays(_STREAM_SAMPLES) if found else None
        self._in_loops = changes_state_in_loops(engine.model)
        self._compiled_pass = engine.compiled(self._pass_batch, batches=1)

    @property
    def does_something(self) -> bool:
        """Whether the model has quantizers that follow the data."""
        return self._data is not None

    def __call__(self) -> None:
        """Measure the ranges for the present weights."""
        if self._data is None:
            return
        for variable in self._ranges:
            none = _NO_RANGE if variable.name == "i" else 0
            variable.assign(keras.ops.full(variable.shape, none, variable.dtype))
        for X, *_ in self._data.batches(_BATCH_SIZE):
            batch = tensors(X)
            if self._in_loops:
                self._model(batch, training=_Tracing())
                continue
            weights = [variable.value for variable in self._model.trainable_variables]
            others = [variable.value for variable in self._model.non_trainable_variables]
            updated = self._compiled_pass(weights, others, batch)
            assign_all(self._model.non_trainable_variables, updated)

    def _pass_batch(self, weights: list[Any], others: list[Any], X: Any) -> list[Any]:
        """Return the variables beside the weights, with ranges that cover one batch more."""
        updated: list[Any] = self._model.stateless_call(weights, others, X, training=_Tracing())[1]
        return updated


class _Tracing:
    """A value of ``training`` with which HGQ2's quantizers widen their ranges, and all else is inference."""

    def __eq__(self, other: object) -> bool:
        return other == "tracing"

    def __hash__(self) -> int:
        return hash("tracing")

    def __bool__(self) -> bool:
        return False


def _follows_data(layer: Any) -> bool:
    return hasattr(layer, "_i_decay_speed") and bool(layer.trainable)
