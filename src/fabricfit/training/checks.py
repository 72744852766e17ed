"""Checks of data against a model and its loss, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.losses import check_labels
from fabricfit.network.ends import Targets
from fabricfit.samples import Data, Dataset
from fabricfit.training.engine import Engine

__all__ = ["check_against_model"]

_FEW = 8
_LABELS, _BATCH = 2**12, 2**12
"""Samples of a file at equal distances whose labels are checked; samples that are read at once."""

_CHECKED_BYTES = 2**30
"""Bytes of a stream or a file that are read before anything is trained, so that errors are early."""

_LEAST_SAMPLES = 2


def check_against_model(engine: Engine, data: Dataset) -> Any:
    """Refuse data whose shape or labels do not suit an engine's model and its loss.

    Returns
    -------
    Predictions for the first few samples.

    Raises
    ------
    InvalidInputError
        There is a single sample; an input has another shape than the model's, the loss cannot be computed, or
        a class label is no whole number or outside the model's outputs.
    """
    if data.size is not None and data.size < _LEAST_SAMPLES:
        raise InvalidInputError(
            f"the {data.name} data set must hold at least {_LEAST_SAMPLES} samples, of which one alone says "
            f"nothing about others. Received: {data.size}"
        )
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
    shapes = [tuple(each.shape[1:]) for each in keras.tree.flatten(predictions)]
    for y in _iterate_targets(data):
        check_labels(engine.hard_loss, y, shapes, f"y_{data.name}")
    try:
        value = engine.loss_of(few.y, predictions)
    except FloatingPointError:  # pragma: no cover
        raise
    except (Exception, SystemExit) as error:  # whatever a loss of the caller's raises
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


def _iterate_targets(data: Dataset) -> Iterator[Targets]:
    """Yield the targets of all samples that are held, and of others those of a first gigabyte.

    Of files a few at equal distances come first. What is read is checked on its way.
    """
    if isinstance(data, Data):
        yield data.y
        return
    if data.size is not None:
        yield data.arrays(_LABELS).y
    read = 0
    for X, y in data.batches(_BATCH):
        yield y
        read += sum(array.nbytes for array in keras.tree.flatten((X, y)))
        if read > _CHECKED_BYTES:
            break
