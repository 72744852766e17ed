"""Training data: checked once, before anything is trained or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.keras.reading import functional_graph

__all__ = ["Data", "check_against_model", "collect", "tensors"]


@dataclass(frozen=True)
class Data:
    """Inputs and targets of a number of samples.

    Parameters
    ----------
    X, y
        Arrays with the samples along their first axis, or nested lists, tuples or dicts of such, for
        models with several inputs or outputs.
    name
        What to call them in an error: ``'train'`` or ``'val'``.
    """

    X: Any
    y: Any
    name: str = "train"

    def __post_init__(self) -> None:
        for side in ("X", "y"):
            arrays = keras.tree.map_structure(np.asarray, _as_tree(getattr(self, side)))
            object.__setattr__(self, side, arrays)
            for array in keras.tree.flatten(arrays):
                _check_array(array, f"{side}_{self.name}")
        lengths = {len(array) for array in keras.tree.flatten((self.X, self.y))}
        if len(lengths) != 1:
            raise InvalidInputError(
                f"X_{self.name} and y_{self.name} must hold equally many samples. "
                f"Received: {sorted(lengths)}"
            )

    def __len__(self) -> int:
        return len(keras.tree.flatten(self.X)[0])

    def take(self, index: Any) -> Data:
        """Return some of the samples."""
        X, y = keras.tree.map_structure(lambda array: array[index], (self.X, self.y))
        return Data(X, y, self.name)


def collect(dataset: Any, name: str) -> Data:
    """Turn what callers pass as a data set into arrays.

    Parameters
    ----------
    dataset
        A pair ``(X, y)`` (a tuple is always one), or anything that yields such pairs batch by batch:
        ``tf.data.Dataset``, a PyTorch ``DataLoader``, ``keras.utils.PyDataset``, a finite generator.
    name
        What to call it in an error.

    Raises
    ------
    InvalidTypeError
        It is neither.
    """
    if isinstance(dataset, Data):
        return dataset
    batches_of_pairs = isinstance(dataset, list) and all(map(_is_pair, dataset))
    if isinstance(dataset, tuple | list) and len(dataset) == 2 and not batches_of_pairs:
        return Data(dataset[0], dataset[1], name)
    if isinstance(dataset, keras.utils.PyDataset):
        batches = [dataset[i] for i in range(len(dataset))]
    elif hasattr(dataset, "__iter__"):
        batches = list(dataset)
    else:
        raise InvalidTypeError(
            f"the {name} data set must be a pair (X, y) or yield such pairs. "
            f"Received: {type(dataset)!r}"
        )
    if not batches or any(not _is_pair(batch) for batch in batches):
        raise InvalidInputError(f"the {name} data set must yield at least one pair (X, y).")
    pairs = [keras.tree.map_structure(_to_numpy, (batch[0], batch[1])) for batch in batches]
    X, y = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pairs)
    return Data(X, y, name)


def check_against_model(model: keras.Model, data: Data, loss: Any) -> Any:
    """Refuse data whose shape or labels do not suit the model and its loss.

    Returns
    -------
    Predictions for the first few samples.

    Raises
    ------
    InvalidInputError
        An input has another shape than the model's, the loss cannot be computed, or a class label is
        outside the model's outputs.
    """
    inputs = keras.tree.flatten(functional_graph(model).inputs)
    arrays = keras.tree.flatten(data.X)
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
    few = data.take(slice(0, 8))
    predictions = keras.tree.map_structure(
        keras.ops.convert_to_numpy, model(tensors(few.X), training=False)
    )
    _check_labels(data, predictions, loss)
    try:
        value = float(keras.ops.convert_to_numpy(loss(few.y, predictions)))
    except FloatingPointError:  # pragma: no cover
        raise
    except Exception as error:
        shapes = [p.shape[1:] for p in keras.tree.flatten(predictions)]
        raise InvalidInputError(
            f"the loss cannot be computed from y_{data.name} "
            f"{[a.shape[1:] for a in keras.tree.flatten(data.y)]} and the model's outputs "
            f"{shapes} (shapes of one sample): {error}"
        ) from error
    if not np.isfinite(value):
        raise InvalidInputError(
            f"the loss of the first samples of X_{data.name} is {value}: check the model's weights, "
            "the data, and that the loss fits the labels."
        )
    return predictions


def _check_labels(data: Data, predictions: Any, loss: Any) -> None:
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


def _check_array(array: np.ndarray, name: str) -> None:
    if array.ndim == 0 or len(array) == 0:
        raise InvalidInputError(f"{name} must hold at least one sample. Received: {array.shape}")
    if array.dtype.kind not in "fiub":
        raise InvalidTypeError(f"{name} must hold numbers. Received: dtype {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInputError(f"{name} must not hold NaN or infinite values.")


def tensors(X: Any) -> Any:
    """Return arrays, however nested, as tensors of the backend."""
    return keras.tree.map_structure(keras.ops.convert_to_tensor, X)


def _to_numpy(array: Any) -> np.ndarray:
    return array.numpy() if hasattr(array, "numpy") else np.asarray(array)


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) >= 2


def _as_tree(value: Any) -> Any:
    """Turn tensors of any backend, and data frames, into arrays; leave containers as they are."""
    if isinstance(value, list) and value and np.isscalar(value[0]):
        return np.asarray(value)
    if isinstance(value, dict | list | tuple):
        return value
    return _to_numpy(value)
