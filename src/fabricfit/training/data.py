"""Data sets: checked once, before anything is trained or written, and then held or streamed.

Arrays that fit are held on the device (:class:`Data`). Larger ones, and sources that make their batches as
they go, are streamed (:class:`Stream`, or a :class:`Data` that is not resident).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError

__all__ = ["Data", "Dataset", "Stream", "open_data", "samples_in", "tensors"]

RESIDENT_LIMIT = 2**30
"""Most bytes of a data set that are held on the device; larger ones are sent there batch by batch."""

_NUMBERS_CHECKED_AT_ONCE = 2**22
_Pair = tuple[Any, Any]


class Dataset(ABC):
    """Inputs and targets that can be iterated any number of times.

    ``name`` is what to call them in an error: ``'train'`` or ``'val'``.
    """

    name: str

    @property
    def resident(self) -> bool:
        """Whether the samples are held on the device as a whole."""
        return False

    @abstractmethod
    def order(self, rng: np.random.Generator) -> np.ndarray | None:
        """Return a random order of the samples, shape ``(n,)``; None where the source has its own."""

    @abstractmethod
    def batches(self, batch_size: int, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over all samples once: pairs of arrays, or of whatever the source makes.

        Parameters
        ----------
        batch_size
            Samples in a batch; a source that makes its own batches ignores it.
        order
            The samples' indices in the order in which they come; None for the order as they are.
        """

    @abstractmethod
    def head(self, samples: int) -> Data:
        """Return at most so many of the first samples as arrays."""

    def arrays(self, most: int) -> Data:
        """Return the samples as arrays: of a stream, at most so many of the first ones."""
        return self.head(most)


@dataclass(frozen=True, eq=False)
class Data(Dataset):
    """Inputs and targets of a number of samples, in arrays.

    Parameters
    ----------
    X, y
        Arrays with the samples along their first axis, or nested lists, tuples or dicts of such, for
        models with several inputs or outputs. Arrays on disk (``numpy.memmap``) stay there.
    name
        What to call them in an error: ``'train'`` or ``'val'``.
    resident_limit
        Most bytes that are held on the device.
    """

    X: Any
    y: Any
    name: str = "train"
    resident_limit: int = RESIDENT_LIMIT

    def __post_init__(self) -> None:
        for side in ("X", "y"):
            arrays = keras.tree.map_structure(np.asarray, _convert_tree(getattr(self, side)))
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
        return samples_in(self.X)

    @property
    def resident(self) -> bool:
        """Whether the samples are held on the device as a whole."""
        bytes_ = sum(array.nbytes for array in keras.tree.flatten((self.X, self.y)))
        return bool(bytes_ <= self.resident_limit)

    def take(self, index: Any) -> Data:
        """Return some of the samples."""
        X, y = keras.tree.map_structure(lambda array: array[index], (self.X, self.y))
        return Data(X, y, self.name)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random order of the samples, shape ``(n,)``."""
        return rng.permutation(len(self))

    def batches(self, batch_size: int, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over all samples once."""
        for start in range(0, len(self), batch_size):
            part: Any = slice(start, start + batch_size)
            index = part if order is None else order[part]
            yield keras.tree.map_structure(lambda array, i=index: array[i], (self.X, self.y))

    def head(self, samples: int) -> Data:
        """Return the first samples."""
        return self.take(slice(0, samples))

    def arrays(self, most: int) -> Data:
        """Return all samples."""
        return self


@dataclass(frozen=True, eq=False)
class Stream(Dataset):
    """Batches that a source makes anew each time it is iterated.

    Parameters
    ----------
    source
        A ``tf.data.Dataset``, a PyTorch ``DataLoader``, a ``keras.utils.PyDataset``, any other iterable
        of pairs ``(X, y)``, or a function without arguments that returns an iterator of such. What it
        shuffles and augments, it does on every pass.
    name
        What to call it in an error.
    """

    source: Any
    name: str = "train"

    def order(self, rng: np.random.Generator) -> None:
        """Return None: the source has an order of its own."""
        return

    def batches(self, batch_size: int = 0, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over the source once, in the batches that it makes."""
        empty = True
        for batch in self._iterate_source():
            yield keras.tree.map_structure(_to_numpy, _check_pair(batch, self.name))
            empty = False
        if empty:
            raise _make_no_pair_error(self.name)

    def head(self, samples: int) -> Data:
        """Return the first samples that the source makes."""
        parts, count = [], 0
        for X, y in self.batches():
            parts.append((X, y))
            count += samples_in(X)
            if count >= samples:
                break
        return _join_pairs(parts, self.name).take(slice(0, samples))

    def _iterate_source(self) -> Iterator[Any]:
        if isinstance(self.source, keras.utils.PyDataset):
            for index in range(self.source.num_batches):
                yield self.source[index]
            self.source.on_epoch_end()
        elif hasattr(self.source, "__iter__"):
            yield from self.source
        else:
            yield from self.source()


def open_data(dataset: Any, name: str) -> Dataset:
    """Make a data set of what callers pass as one.

    Parameters
    ----------
    dataset
        A pair ``(X, y)`` of arrays (a tuple is always one), a list of pairs, or anything that
        :class:`Stream` can iterate over. A generator, which runs but once, is read into memory.
    name
        What to call it in an error.

    Raises
    ------
    InvalidTypeError
        It is none of these.
    InvalidInputError
        It yields no pair, sample weights too, or never ends.
    """
    if isinstance(dataset, Dataset):
        return dataset
    batches_of_pairs = isinstance(dataset, list) and all(map(_is_pair, dataset))
    if isinstance(dataset, tuple | list) and len(dataset) == 2 and not batches_of_pairs:
        return Data(dataset[0], dataset[1], name)
    if isinstance(dataset, tuple):
        _check_pair(dataset, name)  # says that weights are not supported
    if isinstance(dataset, list) or (hasattr(dataset, "__next__") and hasattr(dataset, "__iter__")):
        pairs = [_check_pair(batch, name) for batch in dataset]
        return _join_pairs(keras.tree.map_structure(_to_numpy, pairs), name)
    if _is_endless(dataset):
        raise InvalidInputError(
            f"the {name} data set must end, since an epoch is one pass over it. Give it an end, for "
            "example with dataset.take(batches)."
        )
    is_source = isinstance(dataset, keras.utils.PyDataset) or hasattr(dataset, "__iter__")
    if is_source or callable(dataset):
        return Stream(dataset, name)
    raise InvalidTypeError(
        f"the {name} data set must be a pair (X, y) or yield such pairs. "
        f"Received: {type(dataset)!r}"
    )


def _check_array(array: np.ndarray, name: str) -> None:
    if array.ndim == 0 or len(array) == 0:
        raise InvalidInputError(f"{name} must hold at least one sample. Received: {array.shape}")
    if array.dtype.kind not in "fiub":
        raise InvalidTypeError(f"{name} must hold numbers. Received: dtype {array.dtype}")
    if array.dtype.kind == "f":
        rows = max(_NUMBERS_CHECKED_AT_ONCE // max(array[:1].size, 1), 1)
        for start in range(0, len(array), rows):
            if not np.isfinite(array[start : start + rows]).all():
                raise InvalidInputError(f"{name} must not hold NaN or infinite values.")


def tensors(X: Any) -> Any:
    """Return arrays, however nested, as tensors of the backend."""
    return keras.tree.map_structure(keras.ops.convert_to_tensor, X)


def samples_in(X: Any) -> int:
    """Return the number of samples of arrays, however nested."""
    return len(keras.tree.flatten(X)[0])


def _to_numpy(array: Any) -> np.ndarray:
    return array.numpy() if hasattr(array, "numpy") else np.asarray(array)


def _join_pairs(pairs: list[_Pair], name: str) -> Data:
    if not pairs:
        raise _make_no_pair_error(name)
    X, y = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pairs)
    return Data(X, y, name)


def _check_pair(batch: Any, name: str) -> _Pair:
    """Return inputs and targets of a batch."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise _make_no_pair_error(name)
    if len(batch) > 2:
        raise InvalidInputError(
            f"the {name} data set must yield pairs (X, y). Received: {len(batch)} parts. Sample weights "
            "are not supported: put them into the loss function, or sample by them."
        )
    return batch[0], batch[1]


def _make_no_pair_error(name: str) -> InvalidInputError:
    return InvalidInputError(f"the {name} data set must yield at least one pair (X, y).")


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) >= 2


def _is_endless(dataset: Any) -> bool:
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches is None
    cardinality = getattr(dataset, "cardinality", None)  # of tf.data
    return callable(cardinality) and int(cardinality()) == -1


def _convert_tree(value: Any) -> Any:
    """Turn tensors of any backend, and data frames, into arrays; leave containers as they are."""
    if isinstance(value, list) and value and np.isscalar(value[0]):
        return np.asarray(value)
    if isinstance(value, dict | list | tuple):
        return value
    return _to_numpy(value)
