"""The loss that a classifier is usually trained with, told by its last activation and its targets."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.samples import Dataset

__all__ = ["find_usual_loss"]

_ENOUGH = 1024


def find_usual_loss(model: keras.Model, train_data: Any) -> str | None:
    """Return the name of the cross-entropy that a classifier's outputs and targets are made for.

    Parameters
    ----------
    model
        The caller's model.
    train_data
        Samples, as :func:`fabricfit.fit` accepts them.

    Returns
    -------
    str or None
        None where it cannot be told: several outputs, an output that is no probability, a stream of
        samples, or targets that are neither classes nor their probabilities.
    """
    targets = _read_targets(train_data)
    outputs: list[Any] = getattr(model, "outputs", None) or []
    if targets is None or len(outputs) != 1 or not np.isfinite(targets).all():
        return None
    activation, units = _last_activation(model), outputs[0].shape[-1]
    whole = bool((targets == np.round(targets)).all())
    in_range = bool((targets >= 0).all() and (targets <= 1).all())
    if activation == "softmax" and targets.ndim > 1 and targets.shape[-1] == units and in_range:
        return "categorical_crossentropy"
    one_each = targets.ndim == len(outputs[0].shape) - 1 or targets.shape[-1] == 1
    if (
        activation == "softmax"
        and one_each
        and whole
        and 0 <= targets.min() <= targets.max() < units
    ):
        return "sparse_categorical_crossentropy"
    fits = targets.shape[-1] == units or (units == 1 and targets.ndim == 1)
    if activation == "sigmoid" and in_range and fits:
        return "binary_crossentropy"
    return None


def _read_targets(train_data: Any) -> np.ndarray | None:
    """Return some of the targets, an array of numbers; None for a stream, or for more than one array."""
    if isinstance(train_data, Dataset) and train_data.size is not None:
        parts = keras.tree.flatten(train_data.head(_ENOUGH).y.labels)
        found = parts[0] if len(parts) == 1 else None
    elif isinstance(train_data, tuple) and len(train_data) >= 2:
        found = train_data[1]
    else:
        return None
    try:
        array = np.asarray(found[:_ENOUGH])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
    return array if array.dtype.kind in "fiub" and array.size else None


def _last_activation(model: keras.Model) -> str | None:
    """Return the name of the activation that the output comes from."""
    layer = model.layers[-1] if model.layers else None
    if isinstance(layer, keras.Model):
        return _last_activation(layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)
