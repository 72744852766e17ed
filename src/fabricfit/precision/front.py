"""Pareto front of a training: the weights of every epoch that no other one beats in metric and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fabricfit.training.fine_tuning import better

__all__ = ["Front", "Point"]


@dataclass(frozen=True, eq=False)
class Point:
    """Weights and what is known of them.

    Parameters
    ----------
    metric
        The validation metric of the quantized network.
    cost
        Its estimated cost.
    epoch
        The epoch after which they were found.
    weights
        All weights and states of the model that trains its precision.
    """

    metric: float
    cost: float
    epoch: int
    weights: list[np.ndarray]


class Front:
    """The points of which none is at least as good and at most as dear as another.

    Parameters
    ----------
    increasing
        Whether a larger metric is better.
    points
        Points to begin with.
    """

    def __init__(self, increasing: bool, points: list[Point] | None = None) -> None:
        self.increasing = increasing
        self.points: list[Point] = list(points or [])

    def __iter__(self) -> Iterator[Point]:
        return iter(sorted(self.points, key=lambda point: point.cost))

    def __len__(self) -> int:
        return len(self.points)

    def offer(
        self, metric: float, cost: float, epoch: int, weights: Callable[[], list[np.ndarray]]
    ) -> bool:
        """Keep a point unless another one is as good and as cheap; return whether it was kept.

        Parameters
        ----------
        metric, cost, epoch
            As for :class:`Point`.
        weights
            Returns the weights; only asked for where the point is kept.
        """
        if any(
            each.cost <= cost and not better(metric, each.metric, self.increasing)
            for each in self.points
        ):
            return False
        self.points = [
            each
            for each in self.points
            if each.cost < cost or better(each.metric, metric, self.increasing)
        ]
        self.points.append(Point(metric, cost, epoch, weights()))
        return True

    def within(self, cost: float) -> list[Point]:
        """Return the points up to a cost, the best first."""
        found = [point for point in self.points if point.cost <= cost]
        return sorted(found, key=lambda point: point.metric, reverse=self.increasing)
