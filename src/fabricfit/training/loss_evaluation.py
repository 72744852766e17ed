"""Evaluation of the loss over many samples, as Keras' ``evaluate`` does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from fabricfit.training.data import samples_in
from fabricfit.training.evaluation import Predictor

__all__ = ["LossEvaluator", "to_floatx"]


class LossEvaluator:
    """Evaluates the loss of an engine's present weights, the model's own penalties included.

    Parameters
    ----------
    engine
        Whose weights are evaluated.
    loss
        From targets and outputs to one number.
    """

    def __init__(self, engine: Predictor, loss: Any) -> None:
        self._engine = engine
        self._loss = loss
        self._compiled = engine.compiled(self._compute, batches=2)

    def __call__(self, batches: Iterable[tuple[Any, Any]]) -> float:
        """Return the mean over the samples of batches of inputs and targets."""
        total, count = 0.0, 0
        for X, y in batches:
            size = samples_in(X)
            found = self._compiled(self._engine.forward_state(), X, y)
            total += size * float(keras.ops.convert_to_numpy(found))
            count += size
        return total / count

    def _compute(self, state: Any, X: Any, y: Any) -> Any:
        model = self._engine.model
        if state:
            outputs, _, penalties = model.stateless_call(
                *state, X, training=False, return_losses=True
            )
        else:
            outputs = model(X, training=False)
            penalties = model.losses
        outputs, penalties = keras.tree.map_structure(to_floatx, (outputs, list(penalties)))
        return sum(map(keras.ops.sum, penalties), self._loss(y, outputs))


def to_floatx(tensor: Any) -> Any:
    """Return a result as Keras' losses see it: in full precision, if it is a floating-point number."""
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
        return tensor
    return keras.ops.cast(tensor, keras.config.floatx())
