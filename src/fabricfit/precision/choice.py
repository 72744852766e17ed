"""Which point of a Pareto front to choose within a budget: the best one whose counted adders fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fabricfit.errors import InfeasibleError
from fabricfit.precision.adders import count_adders
from fabricfit.precision.formats import TensorFormat, find_extremes, find_tensor_formats
from fabricfit.precision.front import Front, Point
from fabricfit.precision.model import PrecisionModel
from fabricfit.training.engine import Engine

__all__ = ["Choice", "choose_point"]

_SLACK = 1.1
"""How far an estimate may be above a budget so that its point is counted exactly."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A point, and what it costs.

    Parameters
    ----------
    point
        The point of the front; its weights are in the model.
    formats
        Name of each rounding -> the format of each channel, or one for all.
    luts
        Layer -> LUTs of its adder graph.
    """

    point: Point
    formats: dict[str, tuple[TensorFormat, ...]]
    luts: dict[str, float]

    @property
    def total(self) -> float:
        """LUTs of all layers."""
        return sum(self.luts.values())


def choose_point(
    made: PrecisionModel, engine: Engine, front: Front, luts: float, inputs: list[np.ndarray]
) -> Choice:
    """Return the best point of a front within a budget of LUTs; the model has its weights then.

    Parameters
    ----------
    made
        The model that trained its precision.
    engine
        What trained it.
    front
        Its Pareto front, with estimated costs.
    luts
        The budget.
    inputs
        An array for each input: what occurs in them is what the formats hold.

    Raises
    ------
    InfeasibleError
        No point is within the budget.
    MissingExtraError
        ``alkaid`` is not installed.
    """
    least = np.inf
    for point in _list_candidates(front, luts):
        engine.set_weights(point.weights)
        formats = find_tensor_formats(made, find_extremes(made, inputs))
        choice = Choice(point, formats, count_adders(made, formats))
        if choice.total <= luts:
            return choice
        least = min(least, choice.total)
    raise InfeasibleError(
        f"no network of the Pareto front is within {luts:,.0f} LUTs; the cheapest has {least:,.0f}. Train "
        "along a path that ends at a lower cost, or allow for more LUTs."
    )


def _list_candidates(front: Front, luts: float) -> Iterator[Point]:
    """Yield points whose estimate is within reach of a budget, the best first, then the others by cost."""
    yield from front.within(_SLACK * luts)
    yield from (point for point in front if point.cost > _SLACK * luts)
