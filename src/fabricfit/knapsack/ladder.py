"""Order statistics of a large array around one place, without sorting all of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["Ladder", "top_mask"]

_SORT_ALL = 1 << 13
"""An array up to this length is sorted as a whole."""

_PIECE = 1 << 18
_SAMPLE = 1 << 15
_REACH = 450
"""So many places of a sample to either side hold a rank nearly always: five standard deviations."""


class Ladder:
    """The values of one cost class in falling order, of which only a window is ever sorted.

    *Rank r* is the r-th largest value, counted from 0; keeping the best k items keeps ranks below
    k.

    Parameters
    ----------
    values
        Shape ``(n,)``, in any order, floats of 32 or 64 bits. ``inf`` marks an item that is always
        kept, -1 one that never is.
    low, high
        Least and largest number of items that may be kept. ``high`` may be lowered later;
        ``ceiling`` remembers the first one.
    """

    def __init__(self, values: np.ndarray, low: int = 0, high: int | None = None) -> None:
        self.values = values
        self.size = values.size
        self.low = low
        self.high = self.ceiling = values.size if high is None else high
        self._first = 0
        self._window = np.empty(0)
        if self.size <= _SORT_ALL:
            self._window = _sort_falling(values)

    @property
    def positive(self) -> int:
        """Number of items that have a value at all."""
        return int(np.count_nonzero(self.values > 0))

    def focus(self, top: float, bottom: float) -> tuple[int, int]:
        """Sort the values in ``(bottom, top]``; return the ranks where they begin and end."""
        if self._window.size < self.size:
            # Prices have 64 bits: they must not be rounded to the values' 32 before they are compared.
            above, inside = 0, []
            for _, part in _cut_pieces(self.values):
                within = part <= np.float64(top)
                above += part.size - int(np.count_nonzero(within))
                within &= part > np.float64(bottom)
                inside.append(part[within])
            self._first, self._window = above, _sort_falling(np.concatenate(inside))
            return above, above + self._window.size
        falling = -self._window
        return (
            int(np.searchsorted(falling, -top, "left")),
            int(np.searchsorted(falling, -bottom, "left")),
        )

    def above(self, price: float) -> int:
        """Count the items that are worth more than a price, within the allowed numbers."""
        window = self._window
        if window.size and (window.size == self.size or window[-1] <= price < window[0]):
            count = self._first + int(np.searchsorted(-window, -price, "left"))
        else:
            count = int(np.count_nonzero(self.values > np.float64(price)))
        return min(max(count, self.low), self.high)

    def ranks(self, start: int, stop: int) -> np.ndarray:
        """Return the values of ranks ``start`` to ``stop - 1``, largest first."""
        if start >= stop:
            return np.empty(0)
        if not self._holds_rank(start, stop):
            room = 2 * (stop - start)
            first, last = max(start - room, 0), min(stop + room, self.size)
            self._guess_rank(first, last)
            if not self._holds_rank(first, last):
                cuts = [cut for cut in (self.size - last, self.size - first) if 0 < cut < self.size]
                ordered = np.partition(self.values, cuts) if cuts else self.values
                part = ordered[self.size - last : self.size - first]
                self._first, self._window = first, _sort_falling(part)
        return self._window[start - self._first : stop - self._first]

    def _holds_rank(self, start: int, stop: int) -> bool:
        return self._first <= start and stop <= self._first + self._window.size

    def _guess_rank(self, start: int, stop: int) -> None:
        """Sort a window that holds some ranks in all likelihood, by a sample; nothing is copied."""
        rng = np.random.default_rng(0)
        sample = _sort_falling(self.values[rng.integers(0, self.size, _SAMPLE)])
        above = start * _SAMPLE // self.size - _REACH
        below = -(-stop * _SAMPLE // self.size) + _REACH
        top = np.inf if above < 0 else float(sample[above])
        self.focus(top, -np.inf if below >= _SAMPLE else float(sample[below]))

    def keep(self, count: int) -> np.ndarray:
        """Mark the best ``count`` items, the first ones among equals; shape ``(n,)``, bool."""
        if 0 < count < self.size:
            return top_mask(self.values, count, float(self.ranks(count - 1, count)[0]))
        return np.full(self.size, count > 0)


def top_mask(values: np.ndarray, count: int, last: float | None = None) -> np.ndarray:
    """Mark the ``count`` largest values, the first ones among equals.

    Parameters
    ----------
    values
        Shape ``(n,)``.
    count
        Between 0 and n.
    last
        The ``count``-th largest value, where it is known.
    """
    if count <= 0 or count >= values.size:
        return np.full(values.size, count > 0)
    if last is None and count == 1:
        mask = np.zeros(values.size, bool)
        mask[np.argmax(values)] = True
        return mask
    if last is None:
        place = values.size - count
        last = np.partition(values, place)[place]
    mask = values > last
    missing = count - int(np.count_nonzero(mask))
    for start, part in _cut_pieces(values):
        if not missing:
            break
        equal = np.flatnonzero(part == last)[:missing]
        mask[start + equal] = True
        missing -= equal.size
    return mask


def _cut_pieces(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield pieces of an array, and where they begin: what is computed of one needs little memory."""
    for start in range(0, values.size, _PIECE):
        yield start, values[start : start + _PIECE]


def _sort_falling(values: np.ndarray) -> np.ndarray:
    return np.sort(values)[::-1].astype(np.float64, copy=False)
