"""Checks of data against a model and its loss, before anything is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.training.data import Data, Dataset
from fabricfit.training.engine import Engine

__all__ = ["check_against_model"]

_FEW = 8


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
        len(want) == len(got) and all(w is None or w == g for w, g in zip(want, got, strict=True))
        for want, got in zip(expected, received, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"X_{data.name} must have the shape of the model's inputs, one sample of it: "
            f"{expected}. Received: {received}"
        )
    predictions = engine.outputs_of(few.X)
    _check_labels(data if isinstance(data, Data) else few, predictions)
    try:
        value = engine.loss_of(few.y, predictions)
    except FloatingPointError:  # pragma: no cover
        raise
    except Exception as error:
        shapes = [p.shape[1:] for p in keras.tree.flatten(predictions)]
        raise InvalidInputError(
            f"the loss cannot be computed from y_{data.name} "
            f"{[a.shape[1:] for a in keras.tree.flatten(few.y)]} and the model's outputs "
            f"{shapes} (shapes of one sample): {error}"
        ) from error
    if not np.isfinite(value):
        raise InvalidInputError(
            f"the loss of the first samples of X_{data.name} is {value}: check the model's weights, "
            "the data, and that the loss fits the labels."
        )
    return predictions


def _check_labels(data: Data, predictions: Any) -> None:
    """Whole-number labels with one column less than the outputs are classes: check their range."""
    for y, outputs in zip(
        keras.tree.flatten(data.y), keras.tree.flatten(predictions), strict=False
    ):
        classes = outputs.shape[-1]
        sparse = outputs.ndim > y.ndim or (y.ndim == outputs.ndim and y.shape[-1] == 1 < classes)
        if sparse and classes > 1 and (y.min() < 0 or y.max() >= classes):
            raise InvalidInputError(
                f"y_{data.name} must hold class labels from 0 to {classes - 1}, since the model has "
                f"{classes} outputs. Received: labels from {y.min()} to {y.max()}"
            )
