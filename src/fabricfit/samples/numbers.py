"""Arrays of samples: what numbers they may hold, and in which type they are held."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.samples.door import to_numpy

__all__ = ["as_plain", "check_array", "check_numbers", "plain_dtype"]

_NUMBERS_CHECKED_AT_ONCE = 2**22


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
    if array.dtype.kind == "f":
        rows = max(_NUMBERS_CHECKED_AT_ONCE // max(array[:1].size, 1), 1)
        for start in range(0, len(array), rows):
            if not np.isfinite(array[start : start + rows]).all():
                raise InvalidInputError(f"{name} must not hold NaN or infinite values.")


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
