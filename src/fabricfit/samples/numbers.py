"""Arrays of samples: what numbers they may hold, and in which type they are held."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.network.ends import Targets
from fabricfit.samples.arrays import to_numpy

__all__ = ["as_plain", "check_array", "check_numbers", "check_pair", "plain_dtype"]

_NUMBERS_CHECKED_AT_ONCE = 2**22

_LARGEST_WHOLE = 2**53
"""Larger whole numbers are names of something, hashes for example, and not what a network computes with."""


def check_array(array: np.ndarray, name: str) -> None:
    """Refuse an array without samples, or with what :func:`check_numbers` refuses."""
    if array.ndim == 0 or len(array) == 0:
        raise InvalidInputError(f"{name} must hold at least one sample. Received: {array.shape}")
    check_numbers(array, name)


def check_numbers(array: np.ndarray, name: str) -> None:
    """Refuse what is no number, or not finite.

    Parameters
    ----------
    array
        Samples.
    name
        What to call them in an error.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        Something is.
    """
    if array.dtype.kind not in "fiub":
        raise InvalidTypeError(f"{name} must hold numbers. Received: dtype {array.dtype}")
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        least, most = int(array.min()), int(array.max())
        if max(-least, most) > _LARGEST_WHOLE:
            raise InvalidInputError(
                f"{name} must hold numbers that floats hold exactly, up to 2**53. Received: numbers from "
                f"{least} to {most}"
            )
    if array.dtype.kind == "f":
        rows = max(_NUMBERS_CHECKED_AT_ONCE // max(array[:1].size, 1), 1)
        for start in range(0, len(array), rows):
            if not np.isfinite(array[start : start + rows]).all():
                raise InvalidInputError(f"{name} must not hold NaN or infinite values.")


def check_pair(X: Any, y: Targets, name: str) -> None:
    """Refuse inputs and targets with what :func:`check_array` refuses, or of several lengths.

    Parameters
    ----------
    X, y
        Arrays, in any structure.
    name
        Of the data set: ``'train'`` or ``'val'``.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        Something is; or a weight of a sample is negative.
    """
    suffix = f"_{name}" if name else ""
    parts = zip(("X", "y", "weights", "teacher"), (X, *y), strict=True)
    for side, part in parts:
        for array in keras.tree.flatten(part):
            check_array(array, f"{side}{suffix}")
    for array in keras.tree.flatten(y.weights):
        if (array < 0).any():
            raise InvalidInputError(
                f"weights{suffix} must not be negative. Received: {float(array.min()):g}"
            )
    lengths = {len(array) for array in keras.tree.flatten((X, y))}
    if len(lengths) != 1:
        raise InvalidInputError(
            f"X{suffix} and y{suffix}, and weights if any, must hold equally many samples. "
            f"Received: {sorted(lengths)}"
        )


def as_plain(value: Any) -> np.ndarray:
    """Return an array of numbers that are no finer than the backend's, unless it stays on disk."""
    array = to_numpy(value)
    return array if _is_on_disk(array) else array.astype(plain_dtype(array.dtype), copy=False)


def plain_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type in which numbers of a type are held: no finer than the backend's, of this machine."""
    floatx = np.dtype(keras.config.floatx())
    if dtype.kind == "f" and dtype.itemsize > floatx.itemsize:
        return floatx
    return dtype.newbyteorder("=")


def _is_on_disk(array: Any) -> bool:
    return isinstance(array, np.memmap) or isinstance(getattr(array, "base", None), np.memmap)
