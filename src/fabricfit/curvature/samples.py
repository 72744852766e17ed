"""A data set in batches: inputs, targets, and the weight of each sample."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from fabricfit.checks import optional_whole_number
from fabricfit.errors import InvalidInputError, InvalidTypeError

__all__ = ["Batch", "Samples"]


class Batch(NamedTuple):
    """A batch of a data set.

    ``x`` is structured as the model expects it, ``y`` holds one array for each output, ``weights`` is
    1 for a real sample and 0 for padding, shape ``(batch,)``.
    """

    x: Any
    y: list[np.ndarray]
    weights: np.ndarray


class Samples:
    """Inputs and targets of a model, all or some, checked before any work begins.

    Parameters
    ----------
    model
        The model that the data is for.
    X
        Array of shape ``(samples, …)``; a list, tuple or dict of arrays for several inputs.
    y
        Array of shape ``(samples, …)``; a list, tuple or dict of arrays for several outputs.
    most
        Largest number of samples; of more, as many are drawn without replacement.
    seed
        Seed of that draw.

    Raises
    ------
    InvalidInputError
        There is no sample, lengths differ, a value is not finite, or ``most`` is no positive number.
    InvalidTypeError
        The data is not numeric.
    """

    def __init__(
        self, model: keras.Model, X: Any, y: Any, most: int | None = None, seed: int = 0
    ) -> None:
        self._x = _arrays("X", X, len(getattr(model, "inputs", None) or ()))
        targets = _arrays("y", y, len(getattr(model, "outputs", None) or ()))
        if isinstance(targets, dict) and set(targets) == set(getattr(model, "output_names", ())):
            targets = [targets[name] for name in model.output_names]
        self._y: list[np.ndarray] = keras.tree.flatten(targets)
        leaves = [*keras.tree.flatten(self._x), *self._y]
        lengths = {len(leaf) for leaf in leaves}
        if len(lengths) != 1:
            raise InvalidInputError(
                "X and y must hold the same number of samples. Received arrays of the shapes: "
                f"{[leaf.shape for leaf in leaves]}"
            )
        count = lengths.pop()
        if not count:
            raise InvalidInputError("X and y must hold at least one sample. Received: none")
        most = optional_whole_number("samples", most)
        self._used: np.ndarray | None = None
        if most is not None and most < count:
            self._used = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
        self.size = count if self._used is None else len(self._used)

    @property
    def kind(self) -> Hashable:
        """What a compiled step depends on: structure, shapes and types, but for the samples."""
        structure = tuple(self._x) if isinstance(self._x, dict) else type(self._x)
        leaves = [*keras.tree.flatten(self._x), *self._y]
        return structure, tuple((leaf.shape[1:], leaf.dtype.str) for leaf in leaves), len(self._y)

    def batch(self, start: int, size: int, *, pad: bool = True) -> Batch:
        """Return the samples from ``start`` on, padded to ``size`` by the first of them."""
        count = min(size, self.size - start)
        index = np.arange(start, start + count)
        weights = np.ones(count, np.float32)
        if pad and count < size:
            index = np.concatenate([index, np.full(size - count, start)])
            weights = np.concatenate([weights, np.zeros(size - count, np.float32)])
        if self._used is not None:
            index = self._used[index]
        x = keras.tree.map_structure(lambda leaf: leaf[index], self._x)
        return Batch(x, [leaf[index] for leaf in self._y], weights)

    def batches(self, size: int, *, pad: bool = True) -> Iterator[Batch]:
        """Iterate over the data once, in order.

        Parameters
        ----------
        size
            Samples in a batch; at most the whole set.
        pad
            Whether the last batch is padded, by samples of weight 0, to the size of the others.
        """
        size = min(size, self.size)
        for start in range(0, self.size, size):
            yield self.batch(start, size, pad=pad)


def _arrays(name: str, data: Any, expected: int) -> Any:
    """Turn data into arrays; a sequence is several arrays where the model expects several."""
    if isinstance(data, dict):
        return {key: _array(f"{name}[{key!r}]", value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        alone = len(data) == 1 and np.ndim(data[0]) > 1
        if expected > 1 or alone or (not expected and all(hasattr(d, "shape") for d in data)):
            found = [_array(f"{name}[{i}]", value) for i, value in enumerate(data)]
            return found[0] if alone and expected == 1 else found
    return _array(name, data)


def _array(name: str, data: Any) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(data) if keras.ops.is_tensor(data) else data)
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(
            f"{name} must be an array of numbers. Received: {type(data).__name__} of dtype "
            f"{array.dtype}"
        )
    if not array.ndim:
        raise InvalidInputError(f"{name} must hold samples along its first axis. Received: {data}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise InvalidInputError(
                f"{name} must be finite. Received: {bad} values of NaN or infinity"
            )
        return array.astype(keras.config.floatx(), copy=False)
    return array.astype(np.int32, copy=False)
