"""What every kind of choice tells the solver, and what a choice means for the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fabricfit.description.grouping import Grouping

__all__ = ["Choices", "Response", "Treatment"]


@dataclass(frozen=True)
class Treatment:
    """Treatment of every weight of a kernel: trained, shared, held at a constant or zeroed.

    Parameters
    ----------
    mask
        Array in the kernel's shape: 1 where a weight trains by itself, else 0.
    offset
        The value of each other weight: 0 if it is pruned, a constant, or the value that it shares.
    cluster
        Integers: numbers from 1 for weights that share a value and train on as one, 0 for the others.
    """

    mask: np.ndarray
    offset: np.ndarray
    cluster: np.ndarray

    @classmethod
    def of_groups(
        cls, kernel: np.ndarray, grouping: Grouping, keep: np.ndarray, shared: np.ndarray
    ) -> Treatment:
        """Treat whole groups.

        Parameters
        ----------
        kernel
            The weights.
        grouping
            How they are cut into groups.
        keep, shared
            Which groups stay, and which of the others share their mean, each of shape ``(n_groups,)``.
        """
        mask = grouping.spread(keep).astype(kernel.dtype, order="C")
        replaced = shared & ~keep
        if not replaced.any():
            nothing = np.zeros(kernel.shape, kernel.dtype)  # zeros_like would touch all its memory
            return cls(mask, nothing, np.zeros(kernel.shape, np.int32))
        numbers = np.where(replaced, np.arange(1, replaced.size + 1), 0).astype(np.int32)
        means = np.where(replaced, grouping.means(kernel), 0).astype(kernel.dtype)
        offset, cluster = (np.ascontiguousarray(grouping.spread(each)) for each in (means, numbers))
        return cls(mask, offset, cluster)

    def apply(self, kernel: np.ndarray) -> np.ndarray:
        """Return the kernel as it is to go on with."""
        return kernel * self.mask + self.offset


@dataclass(frozen=True)
class Response:
    """The best choice for each item of a layer at given prices.

    Parameters
    ----------
    loss
        What each item loses, shape ``(I,)``.
    cost
        Usage of each resource by each item, shape ``(I, M)``.
    pick
        The choices themselves, in a form that only the layer's :class:`Choices` reads.
    """

    loss: np.ndarray
    cost: np.ndarray
    pick: Any


class Choices(Protocol):
    """The items of one layer (groups, or inputs) and the treatments to choose from for each.

    Every item can be chosen by itself; the cheapest choice of an item is the cheapest in every resource.
    """

    fixed: np.ndarray
    """Usage of the layer whatever is chosen, shape ``(M,)``."""

    def respond(self, prices: np.ndarray) -> Response:
        """Return, for every item, the choice with the least ``loss + prices · cost``.

        Parameters
        ----------
        prices
            Loss that a unit of each resource is worth, shape ``(M,)``, at least 0.
        """
        ...  # pragma: no cover

    def cheapest(self) -> Response:
        """Return, for every item, the choice that uses least of every resource."""
        ...  # pragma: no cover

    def merged(self, first: Any, second: Any, use_second: np.ndarray) -> Any:
        """Return the picks of ``second`` where ``use_second`` is set, shape ``(I,)``, else of ``first``."""
        ...  # pragma: no cover

    def treatment(self, pick: Any) -> Treatment:
        """Spell a pick out for every weight."""
        ...  # pragma: no cover
