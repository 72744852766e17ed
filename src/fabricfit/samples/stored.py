"""Samples in files, of which only some blocks are in memory at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.network.ends import Targets
from fabricfit.samples.columns import Column
from fabricfit.samples.data import Data, Dataset, samples_in
from fabricfit.samples.door import Door
from fabricfit.samples.numbers import check_numbers, plain_dtype

__all__ = ["Joined", "Stored"]

_BLOCK_BYTES = 2**20
"""Bytes of a block: consecutive samples, which are read in one go."""

_BUFFER_BYTES = 2**25
"""Bytes of the blocks whose samples are mixed with each other."""

_LEAST_MIXED = 4
"""Blocks that are mixed at least, where single ones are large."""

_HELD_BYTES = 2**27
"""Bytes of the samples that :meth:`Stored.arrays` returns at most."""

_PLACES = 64
"""Blocks at equal distances from which a few samples are taken."""

_Pair = tuple[Any, Targets]


@dataclass(frozen=True)
class _Side:
    """One side of a split: of each block the fraction that is set aside, or what is left."""

    fraction: float
    aside: bool


@dataclass(frozen=True, eq=False)
class Stored(Dataset):
    """Inputs, targets and weights of samples in files, which are read block by block.

    A block is a megabyte of consecutive samples, or a chunk of the file where those are larger. An epoch
    goes through the blocks in random order and mixes the samples of 32 MiB of them, and of four at least,
    with each other; where all samples are fewer, they are shuffled like arrays in memory. Samples that are
    sorted in the file over longer stretches than that come sorted in part. Numbers are checked when they are
    read.

    Parameters
    ----------
    columns
        ``(X,)``, ``(X, y)`` or ``(X, y, weights)`` of columns, each part in any structure that Keras accepts.
    name
        What to call them in an error: ``'train'`` or ``'val'``.
    door
        Maps each batch to a model's inputs and outputs.
    side
        The side of a split that this is; None for all samples.
    """

    columns: tuple[Any, ...]
    name: str = ""
    door: Door = field(default_factory=Door)
    side: _Side | None = None

    def __post_init__(self) -> None:
        leaves = self._leaves
        lengths = {len(each) for each in leaves}
        if len(lengths) != 1 or 0 in lengths:
            names = ", ".join(f"{each.name} ({len(each)})" for each in leaves)
            raise InvalidInputError(
                f"columns must hold equally many samples, at least one. Received: {names}"
            )
        for each in leaves:
            if each.obstacle:
                raise InvalidInputError(each.obstacle)

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self)

    @property
    def has_targets(self) -> bool:
        """Whether there are targets, and not inputs alone."""
        return len(self.columns) > 1

    def through(self, door: Door, name: str) -> Stored:
        """Return the same samples, mapped by a door."""
        return dataclasses.replace(self, door=door, name=name)

    def without_targets(self) -> Stored:
        """Return the inputs alone."""
        return dataclasses.replace(self, columns=self.columns[:1])

    def split(self, fraction: float) -> tuple[Stored, Stored]:
        """Return the samples without a fraction of each block, drawn at random, and those.

        The same samples are drawn for the same file, whatever else is random.
        """
        kept, aside = (
            dataclasses.replace(self, side=_Side(fraction, each)) for each in (False, True)
        )
        return kept, aside

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random order: of the samples, if they are few; else a seed and an order of blocks."""
        if self._is_small:
            return rng.permutation(len(self))
        seed = rng.integers(2**31, size=1)
        return np.concatenate([seed, rng.permutation(len(self._counts))])

    def batches(self, batch_size: int, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over all samples once; ``order`` is what :meth:`order` returns."""
        pending: list[Any] = []
        count = 0
        for stretch in self._read_stretches(order):
            start, size = 0, samples_in(stretch)
            while count + size - start >= batch_size:
                stop = start + batch_size - count
                pending.append(_cut(stretch, start, stop))
                yield self._map(_concatenate(pending))
                pending, count, start = [], 0, stop
            if start < size:
                pending.append(_cut(stretch, start, size))
                count += size - start
        if pending:
            yield self._map(_concatenate(pending))

    def head(self, samples: int) -> Data:
        """Return at most so many samples, evenly spread over the file."""
        X, y = self._map(self.spread(samples))
        return Data(X, y, self.name)

    def arrays(self, most: int) -> Data:
        """Return at most so many samples, and at most 128 MiB of them, evenly spread over the file."""
        return self.head(min(most, max(_HELD_BYTES // self._bytes_of_sample, 1)))

    def spread(self, samples: int) -> tuple[Any, ...]:
        """Return at most so many samples as :meth:`head`, as arrays in the structure of the columns."""
        counts = self._counts
        blocks, wanted = len(counts), min(samples, len(self))
        places = min(max(_PLACES, int(np.ceil(2 * wanted / counts.mean()))), blocks)
        chosen = np.arange(places) * blocks // places
        if counts[chosen].sum() < wanted:
            chosen = np.arange(blocks)
        ends = np.cumsum(counts[chosen])
        taken = np.arange(wanted) * ends[-1] // wanted
        starts = np.searchsorted(taken, np.concatenate([[0], ends]))
        parts = []
        for block, end, start, stop in zip(chosen, ends, starts, starts[1:], strict=False):
            if start < stop:
                local = taken[start:stop] - (end - counts[block])
                parts.append(_cut(self._read_block(int(block)), local))
        found: tuple[Any, ...] = _concatenate(parts)
        return found

    @property
    def _leaves(self) -> list[Column]:
        leaves: list[Column] = keras.tree.flatten(self.columns)
        return leaves

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Samples at which the blocks begin, and the end of the last one."""
        leaves = self._leaves
        total = len(leaves[0])
        rows = max(_BLOCK_BYTES * total // max(sum(each.nbytes for each in leaves), 1), 1)
        edges = min((each.edges for each in leaves), key=len)
        if isinstance(edges, range):
            return np.append(np.arange(0, total, -(-rows // edges.step) * edges.step), total)
        found = [0]
        for edge in edges:
            if edge - found[-1] >= rows:
                found.append(int(edge))
        return np.array([*found, total])

    @cached_property
    def _counts(self) -> np.ndarray:
        """Samples of each block that are on this side of a split."""
        counts = np.diff(self._bounds)
        if self.side is None:
            return counts
        aside = np.diff(np.round(self._bounds * self.side.fraction).astype(np.int64))
        return aside if self.side.aside else counts - aside

    @cached_property
    def _bytes_of_sample(self) -> int:
        leaves = self._leaves
        return max(sum(each.nbytes for each in leaves) // len(leaves[0]), 1)

    @property
    def _is_small(self) -> bool:
        return len(self) * self._bytes_of_sample <= _BUFFER_BYTES

    def _map(self, parts: tuple[Any, ...]) -> _Pair:
        X, *others = parts
        return self.door((X, *(others or [Targets(())])), self.name)

    def _read_stretches(self, order: np.ndarray | None) -> Iterator[Any]:
        """Yield samples that are in memory at the same time, in the order in which they come."""
        blocks = len(self._counts)
        if order is None:
            yield from (self._read_block(each) for each in range(blocks) if self._counts[each])
        elif self._is_small:
            places = np.empty(len(self), np.int64)
            places[order] = np.arange(len(self))
            yield self._mix(range(blocks), places)
        else:
            rng, blocks_in_order = np.random.default_rng(order[0]), order[1:]
            mean = max(int(self._counts.mean() * self._bytes_of_sample), 1)
            mixed = max(_BUFFER_BYTES // mean, _LEAST_MIXED)
            for start in range(0, blocks, mixed):
                chosen = blocks_in_order[start : start + mixed]
                if size := int(self._counts[chosen].sum()):
                    yield self._mix(chosen, rng.permutation(size))

    def _mix(self, blocks: Sequence[int] | np.ndarray, places: np.ndarray) -> Any:
        """Return the samples of some blocks, each sample in its place."""
        mixed = keras.tree.map_structure(
            lambda each: np.empty((len(places), *each.shape[1:]), plain_dtype(each.dtype)),
            self.columns,
        )
        start = 0
        for block in blocks:
            read = self._read_block(int(block))
            own = places[start : start + samples_in(read)]
            for target, array in zip(
                keras.tree.flatten(mixed), keras.tree.flatten(read), strict=True
            ):
                target[own] = array
            start += len(own)
        return mixed

    def _read_block(self, block: int) -> Any:
        """Return the samples of a block that are on this side of a split, checked."""
        start, stop = (int(each) for each in self._bounds[block : block + 2])
        rows: Any = slice(None)
        if self.side is not None:
            aside = int(np.diff(np.round(self._bounds[block : block + 2] * self.side.fraction))[0])
            drawn = np.random.default_rng(block).permutation(stop - start)
            rows = np.sort(drawn[:aside] if self.side.aside else drawn[aside:])

        def read(column: Column) -> np.ndarray:
            array = column.read(start, stop)
            check_numbers(array, f"{column.name}, samples {start} to {stop - 1},")
            return array[rows].astype(plain_dtype(array.dtype), copy=False)

        read_parts: tuple[Any, ...] = keras.tree.map_structure(read, self.columns)
        weights = (keras.tree.flatten(each[2:]) for each in (self.columns, read_parts))
        for column, array in zip(*weights, strict=True):
            if (array < 0).any():
                raise InvalidInputError(
                    f"{column.name} holds weights, which must not be negative. Received: "
                    f"{float(array.min()):g}"
                )
        return read_parts


@dataclass(frozen=True, eq=False)
class Joined(Dataset):
    """Samples of several files, one after the other.

    Parameters
    ----------
    parts
        The samples; a few are taken from the first part as long as it has them.
    name
        What to call them in an error.
    """

    parts: tuple[Stored, ...]
    name: str = ""

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(len(each) for each in self.parts)

    @property
    def has_targets(self) -> bool:
        """Whether there are targets, and not inputs alone."""
        return all(each.has_targets for each in self.parts)

    def through(self, door: Door, name: str) -> Joined:
        """Return the same samples, mapped by a door."""
        return Joined(tuple(each.through(door, name) for each in self.parts), name)

    def order(self, rng: np.random.Generator) -> None:
        """Return None: the parts follow each other."""
        return

    def batches(self, batch_size: int, order: np.ndarray | None = None) -> Iterator[_Pair]:
        """Iterate over the parts."""
        for each in self.parts:
            yield from each.batches(batch_size)

    def head(self, samples: int) -> Data:
        """Return at most so many samples, those of the first part first."""
        found: list[Data] = []
        for each in self.parts:
            if samples > 0:
                found.append(each.head(samples))
                samples -= len(found[-1])
        X, y = _concatenate([(each.X, each.y) for each in found])
        return Data(X, y, self.name)


def _cut(arrays: Any, *bounds: Any) -> Any:
    """Return some samples: those of indices, or from one to before another."""
    index = slice(*bounds) if len(bounds) > 1 else bounds[0]
    return keras.tree.map_structure(lambda array: array[index], arrays)


def _concatenate(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
