"""Arrays of samples, whatever they come in, and the shapes that a model takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError, quoted_error

__all__ = ["as_array", "fit_shape", "to_numpy"]


def to_numpy(array: Any) -> np.ndarray:
    """Return an array, a tensor of any backend, a list, a series or a data frame as an array."""
    found: np.ndarray
    if keras.ops.is_tensor(array):
        found = np.asarray(keras.ops.convert_to_numpy(array))
    else:
        found = array.numpy() if hasattr(array, "numpy") else np.asarray(array)
    # NumPy computes nothing with the short floats of accelerators.
    short = found.dtype.name.startswith(("bfloat16", "float8"))
    return found.astype(np.float32) if short else found


def as_array(value: Any, argument: str) -> Any:
    """Return tensors and arrays as they are; lists, series and data frames as arrays.

    Parameters
    ----------
    value
        What a caller has passed as samples.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidTypeError
        It is no array, or rows of it differ in length.
    InvalidInputError
        Some of it is masked.
    """
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise InvalidInputError(
                f"{argument} must hold a number everywhere. Received: a masked array with "
                f"{int(np.ma.count_masked(value)):,} of {value.size:,} values masked. Fill them first."
            )
        return value.data
    if keras.ops.is_tensor(value) or isinstance(value, np.ndarray):
        return value
    try:
        return to_numpy(value)
    except Exception as error:  # of several kinds, by what NumPy finds in there
        raise InvalidTypeError(
            f"{argument} must be an array of numbers, all samples of one shape. "
            f"NumPy says: {quoted_error(error)}"
        ) from error


def fit_shape(array: Any, shape: tuple[int | None, ...], argument: str, name: str = "") -> Any:
    """Return samples in the shape that a model takes: as Keras does, with or without a last axis of one.

    Parameters
    ----------
    array
        Samples, along the first axis; also a symbol of a graph.
    shape
        What the model takes of one sample; None for any length.
    argument
        What to call it in an error.
    name
        Name of the input.

    Raises
    ------
    InvalidInputError
        They have another shape.
    """
    if getattr(array.shape, "rank", 0) is None:  # TensorFlow's, of which nothing is known
        return array
    rank = len(array.shape)
    if rank == len(shape) and shape[-1:] == (1,):
        array = array[..., None]
    elif rank == len(shape) + 2 and array.shape[-1] == 1:
        array = array[..., 0]
    received = tuple(array.shape)
    fits = len(received) == len(shape) + 1 and all(
        want is None or have is None or want == have
        for want, have in zip(shape, received[1:], strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if each is None else str(each) for each in shape)
        of_input = f" for the input {name!r}" if name else ""
        raise InvalidInputError(
            f"{argument} must have the shape (samples, {wanted}){of_input} of the model. "
            f"Received: {received}"
        )
    return array
