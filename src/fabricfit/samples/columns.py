"""Arrays in files, of which parts can be read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Column"]


class Column(ABC):
    """An array in a file, with the samples along its first axis, of which parts can be read.

    Parameters
    ----------
    name
        The file and what it is in it, for messages.
    shape, dtype
        Of the whole array.
    edges
        Samples at which reading can begin without reading others, ascending from 0, such as those at which
        the chunks of a file begin.
    """

    def __init__(
        self, name: str, shape: Sequence[int], dtype: Any, edges: Sequence[int] | None = None
    ) -> None:
        self.name = name
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.edges = range(len(self)) if edges is None else edges

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def obstacle(self) -> str:
        """Why parts cannot be read, and the way out; '' where they can."""
        return ""

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from ``start`` to before ``stop``."""

    def whole(self) -> np.ndarray:
        """Return the whole array."""
        return self.read(0, len(self))
