"""Weights of classes, as weights of the samples that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from fabricfit.checks import mapping, number, whole_number
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell

__all__ = ["check_class_weight", "weigh_classes"]


def check_class_weight(class_weight: Any) -> dict[int, float] | None:
    """Return weights of classes as plain numbers, sorted by class.

    Raises
    ------
    InvalidInputError
        They are no dict from a number of a class to a number of at least 0.
    """
    if class_weight is None:
        return None
    try:
        found = {
            whole_number("class_weight", key, -(2**31), most=2**31 - 1): number(
                "class_weight", value, least=0
            )
            for key, value in mapping("class_weight", class_weight).items()
        }
    except (InvalidInputError, InvalidTypeError):
        found = {}
    if not found:
        raise InvalidInputError(
            "class_weight must be a dict from the number of a class to its weight, a finite number of "
            f"at least 0, for example {{0: 1.0, 1: 5.0}}. Received: class_weight={spell(class_weight)}"
        )
    return dict(sorted(found.items()))


def weigh_classes(labels: Any, class_weight: Mapping[int, float]) -> Any:
    """Return the weight of each sample's class, as Keras' ``fit`` does: 1 for a class that is not named.

    Parameters
    ----------
    labels
        Numbers of classes of shape ``(n,)`` or ``(n, 1)``, or a value for each class, ``(n, classes)``.
    class_weight
        Class -> weight, sorted by class.
    """
    if len(labels.shape) > 1:
        labels = ops.argmax(labels, -1) if labels.shape[-1] != 1 else ops.squeeze(labels, -1)
    labels = (
        ops.cast(labels, "int32") if _is_whole(labels) else ops.cast(ops.round(labels), "int32")
    )
    classes = np.array(list(class_weight), "int32")
    values = np.array([*class_weight.values(), 1.0], "float32")
    place = ops.searchsorted(classes, ops.reshape(labels, (-1,)))
    place = ops.reshape(ops.minimum(place, len(classes) - 1), ops.shape(labels))
    known = ops.equal(ops.take(classes, place), labels)
    return ops.take(values, ops.where(known, place, len(classes)))


def _is_whole(labels: Any) -> bool:
    return "float" not in str(labels.dtype)
