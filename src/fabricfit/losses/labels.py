"""Labels that a loss can mean: numbers of classes that there are, and parts of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.losses.model_loss import ModelLoss
from fabricfit.losses.resolve import Crossentropy, function_of, is_sparse, options_of
from fabricfit.network.ends import Side, Targets

__all__ = ["check_labels", "label_check"]

_BINARY = (keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy)
_SPREAD = (keras.losses.categorical_crossentropy, keras.losses.categorical_focal_crossentropy)


@dataclass(frozen=True)
class _Shaped:
    """Something of a shape, for Keras' rules."""

    shape: tuple[int | None, ...]


def label_check(losses: ModelLoss, outputs: Side) -> Callable[[Targets, str], None]:
    """Return the check of targets that a model's loss asks for, see :func:`check_labels`."""
    return partial(_check_side, losses, outputs)


def _check_side(losses: ModelLoss, outputs: Side, y: Targets, argument: str) -> None:
    check_labels(losses, y, outputs.shapes, argument)


def check_labels(
    losses: ModelLoss, y: Targets, shapes: Sequence[tuple[int | None, ...]], argument: str
) -> None:
    """Refuse labels that are nothing to a crossentropy, but for those that it ignores.

    Parameters
    ----------
    losses
        The loss of each output.
    y
        Targets, of which only arrays are looked at.
    shapes
        Shapes of the model's outputs, for one sample.
    argument
        What to call the targets in an error.

    Raises
    ------
    InvalidInputError
        A number of a class is not whole, or there is no such class; or a part of a class is negative, or in
        a crossentropy of two classes above 1.
    """
    each = losses.losses if losses.names else losses.losses * len(shapes)
    if not len(y.labels) == len(shapes) == len(each):
        return  # which is said where the loss is computed
    for place, (loss, shape) in enumerate(zip(each, shapes, strict=True)):
        labels = y.labels_of(place)
        if loss is None or not _are_numbers(labels):
            continue
        output = _Shaped((None, *shape))
        kind = function_of(loss)
        mixed = isinstance(loss, Crossentropy) and len(labels.shape) > 0
        if kind is keras.losses.sparse_categorical_crossentropy or (
            mixed and shape[-1] != 1 and is_sparse(labels, output)
        ):
            _check_classes(loss, labels, shape[-1] if shape else None, argument)
        elif kind in _BINARY or (mixed and shape[-1] == 1):
            _check_parts(labels, 1, argument)
        elif kind in _SPREAD or mixed:
            _check_parts(labels, None, argument)


def _are_numbers(labels: Any) -> bool:
    return isinstance(labels, np.ndarray) and labels.dtype.kind in "fiub" and labels.size > 0


def _check_classes(loss: Any, labels: np.ndarray, classes: int | None, argument: str) -> None:
    ignored = options_of(loss).get("ignore_class")
    used = labels if ignored is None else labels[labels != ignored]
    if not used.size:
        return
    if used.dtype.kind == "f" and (used != np.floor(used)).any():
        wrong = used[used != np.floor(used)].flat[0]
        raise InvalidInputError(
            f"{argument} must hold class labels, which are whole numbers. Received: {wrong:g}"
        )
    if classes is not None and classes > 1 and (used.min() < 0 or used.max() >= classes):
        also = "" if ignored is None else f", or {ignored}, which the loss ignores"
        raise InvalidInputError(
            f"{argument} must hold class labels from 0 to {classes - 1}{also}, since the model has "
            f"{classes} outputs. Received: labels from {used.min()} to {used.max()}"
        )


def _check_parts(labels: np.ndarray, most: float | None, argument: str) -> None:
    least, largest = labels.min(), labels.max()
    if least < 0 or (most is not None and largest > most):
        allowed = "from 0 to 1" if most is not None else "that are not negative"
        raise InvalidInputError(
            f"{argument} must hold numbers {allowed}, as the loss is a crossentropy. "
            f"Received: numbers from {least:g} to {largest:g}"
        )
