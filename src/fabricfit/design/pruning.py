"""The order in which the groups of a rounded kernel are pruned, and what that loses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fabricfit.hardware.product import Product

__all__ = ["Pruning"]


@dataclass(frozen=True, eq=False)
class Pruning:
    """Groups of weights, those that are kept the longest first.

    Groups are single weights where they are constants, those of a multiplier where multipliers are shared.

    Parameters
    ----------
    ranks
        For each weight the place of its group in that order, in the shape of the kernel's matrix.
    losses
        What is lost with so many groups kept, from none to all; shape ``(n_groups + 1,)``.
    """

    ranks: np.ndarray
    losses: np.ndarray

    @classmethod
    def of(
        cls, product: Product, matrix: np.ndarray, rounded: np.ndarray, weight: np.ndarray
    ) -> Pruning:
        """Order the groups by what is lost more by zero than by rounding.

        Parameters
        ----------
        product
            The product as hls4ml builds it.
        matrix, rounded
            The weights, and what they are rounded to.
        weight
            Half the Hessian's diagonal, of their shape.
        """
        size = product.reuse_factor if product.time_multiplexed else 1
        lost = weight * (matrix - rounded) ** 2
        saving = weight * matrix**2 - lost
        groups = np.add.reduceat(saving.T.reshape(-1), np.arange(0, matrix.size, size))
        order = np.argsort(-groups, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        pruned = np.append(np.cumsum(groups[order][::-1])[::-1], 0.0)
        ranks = np.repeat(place, size)[: matrix.size].reshape(matrix.T.shape).T
        return cls(ranks, np.maximum(lost.sum() + pruned, 0.0))

    def count(self, part: float) -> int:
        """Return how many groups a part of them is: at least one."""
        return max(round(part * (len(self.losses) - 1)), 1)
