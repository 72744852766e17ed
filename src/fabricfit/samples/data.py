"""Data sets: checked once, before anything is trained or written, and then held or streamed.

Arrays that fit are held on the device (:class:`Data`). Larger ones, and sources that make their batches as
they go, are streamed (:class:`Stream`, or a :class:`Data` that is not resident); so are samples in files
(:mod:`fabricfit.samples.stored`).
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.network.ends import Targets
from fabricfit.samples.arrays import to_numpy
from fabricfit.samples.door import Door
from fabricfit.samples.numbers import as_plain, check_pair
from fabricfit.samples.sources import draw, is_endless

__all__ = [
    "Data",
    "Dataset",
    "Stream",
    "open_data",
    "samples_in",
    "tensors",
]

RESIDENT_LIMIT = 2**30
"""Most bytes of a data set that are held on the device; larger ones are sent there batch by batch."""

WHOLE_PASS = -1
"""Stands for the number of batches of a pass over all of a source."""

ENDED_PASS = -2
"""The same of a pass that was ended at once."""

_Pair = tuple[Any, Targets]
_PARTS = {"X": 0, "x": 0, "y": 1, "w": 2, "sample_weight": 2}


class Dataset(ABC):
    """Inputs and :class:`~fabricfit.network.ends.Targets` that can be iterated any number of times.

    ``name`` is what to call them in an error: ``'train'`` or ``'val'``.
    """

    name: str

    @property
    def resident(self) -> bool:
        """Whether the samples are held on the device as a whole."""
        return False

    @property
    def size(self) -> int | None:
        """Number of samples; None where only a pass over them tells."""
        return None

    @property
    def has_targets(self) -> bool:
        """Whether there are targets, and not inputs alone."""
        return True

    @property
    def passes(self) -> list[int]:
        """Batches that were drawn in each pass over a source that may change from pass to pass."""
        return []

    def replay(self, passes: list[int]) -> None:
        """Draw what an earlier process has drawn, so that the source goes on as it would have.

        Parameters
        ----------
        passes
            What :attr:`passes` was; those that were made here too are not made again.
        """
        del passes  # what is held, or read from files, stays as it is

    def end_pass(self) -> None:  # noqa: B027 - the same
        """Let a source that shuffles at the end of a pass do so, without a pass."""

    def through(self, door: Door, name: str) -> Dataset:
        """Return the same samples, mapped by a door where none has mapped them before."""
        del door, name
        return self

    @abstractmethod
    def order(self, rng: np.random.Generator) -> np.ndarray | None:
        """Return a random order for :meth:`batches`; None where the source has its own."""

    @abstractmethod
    def batches(self, batch_size: int, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over all samples once: pairs of inputs and targets, of arrays or tensors.

        Parameters
        ----------
        batch_size
            Samples in a batch; a source that makes its own batches ignores it.
        order
            What :meth:`order` has returned; None for the order as they are.
        """

    @abstractmethod
    def head(self, samples: int) -> Data:
        """Return at most so many samples as arrays: the first ones, or evenly spread ones of a file."""

    def arrays(self, most: int) -> Data:
        """Return the samples as arrays: of a stream or a file, at most so many of them."""
        return self.head(most)


@dataclass(frozen=True, eq=False)
class Data(Dataset):
    """Inputs and targets of a number of samples, in arrays.

    Parameters
    ----------
    X
        Arrays with the samples along their first axis, in the structure in which the model takes them. Arrays
        on disk (``numpy.memmap``) stay there.
    y
        Targets; an array, or a list of arrays in the order of the model's outputs, becomes such.
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
        X, y = Door()((self.X, self.y), self.name)
        arrays = keras.tree.map_structure(as_plain, (X, y))
        object.__setattr__(self, "X", arrays[0])
        object.__setattr__(self, "y", arrays[1])
        check_pair(arrays[0], arrays[1], self.name)

    def __len__(self) -> int:
        return samples_in(self.X)

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self)

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
        of ``(X, y)`` or ``(X, y, weights)``, or a function without arguments that returns an iterator
        of such. What it shuffles and augments, it does on every pass.
    name
        What to call it in an error.
    door
        Maps each batch.
    """

    source: Any
    name: str = "train"
    door: Door = field(default_factory=Door)
    _passes: list[int] = field(default_factory=list, repr=False)

    @property
    def passes(self) -> list[int]:
        """Batches that were drawn in each pass so far; :data:`WHOLE_PASS` for all of them."""
        return list(self._passes)

    def replay(self, passes: list[int]) -> None:
        """Draw what an earlier process has drawn."""
        for count in passes[len(self._passes) :]:
            if count == ENDED_PASS:
                self.end_pass()
                continue
            most = None if count == WHOLE_PASS else count
            for _ in itertools.islice(self._iterate_source(), most):
                pass

    def end_pass(self) -> None:
        """Let a source that shuffles at the end of a pass do so, without a pass."""
        if isinstance(self.source, keras.utils.PyDataset):
            self.source.on_epoch_end()
            self._passes.append(ENDED_PASS)

    def note_pass(self) -> None:
        """Note a whole pass that was made by the source's own means."""
        self._passes.append(WHOLE_PASS)

    def order(self, rng: np.random.Generator) -> None:
        """Return None: the source has an order of its own."""
        return

    def batches(self, batch_size: int = 0, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over the source once, in the batches that it makes."""
        empty = True
        for batch in self._iterate_source():
            X, y = keras.tree.map_structure(to_numpy, self.arrange(batch))
            check_pair(X, y, self.name)
            self.door.check_targets(y, self.name)
            yield X, y
            empty = False
        if empty:
            raise _make_no_pair_error(self.name)

    def arrange(self, batch: Any) -> _Pair:
        """Map a batch as the source makes it, of arrays, tensors or symbols of a graph."""
        return self.door(_check_batch(batch, self.name), self.name)

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
        place = len(self._passes)
        self._passes.append(0)
        for batch in draw(self.source, self.name):
            self._passes[place] += 1
            yield batch
        self._passes[place] = WHOLE_PASS


def open_data(dataset: Any, name: str, door: Door | None = None) -> Dataset:
    """Make a data set of what callers pass as one.

    Parameters
    ----------
    dataset
        ``(X, y)`` or ``(X, y, weights)`` of arrays (a tuple is always that), a dict of these, a list of
        such batches, or anything that :class:`Stream` can iterate over. Each part may have any structure that
        Keras takes: an array, a list, a tuple, or a dict by the names of inputs or outputs. A
        generator, which runs but once, is read into memory.
    name
        What to call it in an error.
    door
        Maps it to a model's inputs and outputs.

    Raises
    ------
    InvalidTypeError
        It is none of these.
    InvalidInputError
        It yields something else, does not fit the model's inputs and outputs, or never ends.
    """
    door = door or Door()
    if isinstance(dataset, Dataset):
        return dataset.through(door, name)
    if isinstance(dataset, Mapping):
        return _hold(_read_parts(dataset, name), name, door)
    is_list = isinstance(dataset, list)
    batches_of_pairs = is_list and all(map(_is_batch, dataset))
    if isinstance(dataset, tuple) or (is_list and len(dataset) in (2, 3) and not batches_of_pairs):
        return _hold(_check_batch(dataset, name), name, door)
    if is_endless(dataset):
        raise InvalidInputError(
            f"the {name} data set must end, since an epoch is one pass over it. Give it an end, for "
            "example with dataset.take(batches)."
        )
    if is_list or (hasattr(dataset, "__next__") and hasattr(dataset, "__iter__")):
        return _join_pairs([*Stream(dataset, name, door).batches()], name)
    is_source = isinstance(dataset, keras.utils.PyDataset) or hasattr(dataset, "__iter__")
    alone = isinstance(dataset, str | bytes | type | np.ndarray) or keras.ops.is_tensor(dataset)
    if (is_source or callable(dataset)) and not alone:
        return Stream(dataset, name, door)
    raise InvalidTypeError(
        f"the {name} data set must be a pair (X, y), or (X, y, weights), or yield such. "
        f"Received: {spell(dataset)}"
    )


def _hold(parts: Sequence[Any], name: str, door: Door) -> Data:
    found = Data(*door(parts, name), name)
    for array in keras.tree.flatten(found.y.weights):
        if not array.any():
            raise InvalidInputError(
                f"weights_{name} must be above 0 for some sample.".replace("_ ", " ")
            )
    return found


def _read_parts(dataset: Mapping[Any, Any], name: str) -> Sequence[Any]:
    """Return the parts of a data set that names them."""
    parts = [None, None, None]
    for key, value in dataset.items():
        if key not in _PARTS or parts[_PARTS[key]] is not None:
            raise InvalidInputError(
                f"the {name} data set may be a dict with the keys 'X', 'y' and 'w'. Received: {spell(key)}; "
                "a dict by the names of inputs goes into a pair, ({'input': array, …}, y)."
            )
        parts[_PARTS[key]] = value
    return _check_batch(parts if parts[0] is not None and parts[1] is not None else (), name)


def tensors(X: Any) -> Any:
    """Return arrays, however nested, as tensors of the backend."""
    return keras.tree.map_structure(keras.ops.convert_to_tensor, X)


def samples_in(X: Any) -> int:
    """Return the number of samples of arrays, however nested."""
    return len(keras.tree.flatten(X)[0])


def _join_pairs(pairs: list[_Pair], name: str) -> Data:
    if not pairs:
        raise _make_no_pair_error(name)
    X, y = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pairs)
    return Data(X, y, name)


def _check_batch(batch: Any, name: str) -> Sequence[Any]:
    """Return inputs, targets and perhaps weights of a batch."""
    if not _is_batch(batch):
        raise _make_no_pair_error(name)
    return batch


def _is_batch(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) in (2, 3)


def _make_no_pair_error(name: str) -> InvalidInputError:
    return InvalidInputError(
        f"the {name} data set must yield at least one pair (X, y), or (X, y, weights), and nothing else."
    )
