"""Samples that are held back from training, to validate with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell

__all__ = ["divide_samples", "hold_back"]


def divide_samples(train: Any, validation: Any, seed: int = 0) -> tuple[Any, Any]:
    """Return both sets of samples; a number in the second place is the part to :func:`hold_back`."""
    if isinstance(validation, int | float):
        return hold_back(train, validation, seed)
    return train, validation


def hold_back(data: Any, part: float, seed: int = 0) -> tuple[Any, Any]:
    """Divide samples at random into those to train on and those to validate with.

    Parameters
    ----------
    data
        ``(X, y)`` or ``(X, y, weights)``, each part an array or a structure of arrays.
    part
        The part to hold back, above 0 and below 1.
    seed
        Seed of the draw.

    Returns
    -------
    train, validation
        Structured as ``data``; the samples of each in their order.

    Raises
    ------
    InvalidInputError
        The part is out of range, or leaves one of the two without a sample; or lengths differ.
    InvalidTypeError
        The data are a stream, of which nothing can be held back.
    """
    if isinstance(part, bool) or not 0 < part < 1:
        raise InvalidInputError(
            "validation_data must be samples, or the part of train_data to hold back, above 0 and below 1. "
            f"Received: validation_data={spell(part)}"
        )
    if not isinstance(data, tuple | list) or not 2 <= len(data) <= 3:
        raise InvalidTypeError(
            "validation_data can be a part of train_data where that is (X, y) of arrays; of a stream, divide "
            f"it yourself and pass both. Received: train_data={type(data)!r}"
        )
    arrays = keras.tree.map_structure(_as_array, tuple(data), none_is_leaf=True)
    leaves = [leaf for leaf in keras.tree.flatten(arrays) if leaf is not None]
    lengths = {len(leaf) for leaf in leaves}
    if len(lengths) != 1:
        raise InvalidInputError(
            f"train_data must hold as many samples in every part. Received: {sorted(lengths)}"
        )
    (count,) = lengths
    held = round(part * count)
    if not 0 < held < count:
        raise InvalidInputError(
            f"validation_data={part!r} of {count} samples leaves {count - held} to train on and {held} to "
            "validate with. Pass more samples, or another part."
        )
    order = np.random.default_rng(seed).permutation(count)
    chosen = (np.sort(order[held:]), np.sort(order[:held]))
    train, validation = (
        keras.tree.map_structure(
            lambda leaf, index=index: None if leaf is None else leaf[index],
            arrays,
            none_is_leaf=True,
        )
        for index in chosen
    )
    return train, validation


def _as_array(leaf: Any) -> Any:
    if leaf is None:
        return None
    array = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
    if not array.ndim:
        raise InvalidInputError(f"train_data must hold arrays of samples. Received: {spell(leaf)}")
    return array
