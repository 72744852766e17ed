"""Checks of data against a model and its loss, before anything is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.losses import ModelLoss, function_of, is_sparse, options_of
from fabricfit.losses.resolve import Crossentropy
from fabricfit.samples import Data, Dataset
from fabricfit.training.engine import Engine

__all__ = ["check_against_model"]

_FEW = 8
_LABELS = 2**12
"""Samples of a file whose labels are checked; of arrays all are."""


def check_against_model(engine: Engine, data: Dataset) -> Any:
    """Refuse data whose shape or labels do not suit an engine's model and its loss.

    Returns
    -------
    Predictions for the first few samples.

    Raises
    ------
    InvalidInputError
        An input has another shape than the model's, the loss cannot be computed, or a class label is
        outside the model's outputs.
    """
    few = data.head(_FEW)
    inputs = keras.tree.flatten(engine.model.inputs)
    arrays = keras.tree.flatten(few.X)
    expected = [tuple(tensor.shape[1:]) for tensor in inputs]
    received = [array.shape[1:] for array in arrays]
    fits = len(expected) == len(received) and all(
        _fits(want, got) for want, got in zip(expected, received, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"X_{data.name} must have the shape of the model's inputs, one sample of it: "
            f"{expected}. Received: {received}"
        )
    predictions = engine.outputs_of(few.X)
    _check_labels(few if data.size is None else data.arrays(_LABELS), predictions, engine.hard_loss)
    try:
        value = engine.loss_of(few.y, predictions)
    except FloatingPointError:  # pragma: no cover
        raise
    except Exception as error:
        shapes = [p.shape[1:] for p in keras.tree.flatten(predictions)]
        raise InvalidInputError(
            f"the loss cannot be computed from y_{data.name} "
            f"{[a.shape[1:] for a in keras.tree.flatten(few.y.labels)]} and the model's outputs "
            f"{shapes} (shapes of one sample): {error}"
        ) from error
    if not np.isfinite(value):
        raise InvalidInputError(
            f"the loss of the first samples of X_{data.name} is {value}: check the model's weights, "
            "the data, and that the loss fits the labels."
        )
    return predictions


def _fits(want: tuple[int | None, ...], got: tuple[int, ...]) -> bool:
    """Whether inputs of a shape are taken: Keras adds a last axis of one, or takes it away."""
    if len(got) == len(want) - 1 and want[-1] == 1:
        got = (*got, 1)
    if len(got) == len(want) + 1 and got[-1] == 1:
        got = got[:-1]
    return len(want) == len(got) and all(
        w is None or w == g for w, g in zip(want, got, strict=True)
    )


def _check_labels(data: Data, predictions: Any, losses: ModelLoss) -> None:
    """Check the range of labels that a loss takes for numbers of classes, but for those that it ignores."""
    for loss, _, y, outputs, _ in losses.matched(data.y, predictions):
        of_classes = function_of(loss) is keras.losses.sparse_categorical_crossentropy or (
            isinstance(loss, Crossentropy) and is_sparse(y, outputs)
        )
        classes = outputs.shape[-1]
        if not of_classes or classes < 2:
            continue
        ignored = options_of(loss).get("ignore_class")
        used = y if ignored is None else y[y != ignored]
        if used.size and (used.min() < 0 or used.max() >= classes):
            also = "" if ignored is None else f", or {ignored}, which the loss ignores"
            raise InvalidInputError(
                f"y_{data.name} must hold class labels from 0 to {classes - 1}{also}, since the model has "
                f"{classes} outputs. Received: labels from {used.min()} to {used.max()}"
            )
