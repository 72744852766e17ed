"""Which point of a Pareto front to choose within a budget: the best one whose counted adders fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fabricfit.errors import InfeasibleError
from fabricfit.precision.adders import count_adders
from fabricfit.precision.biases import find_formats
from fabricfit.precision.formats import TensorFormat
from fabricfit.precision.front import Front, Point
from fabricfit.precision.model import PrecisionModel
from fabricfit.training.engine import Engine
from fabricfit.training.fine_tuning import better

__all__ = ["Choice", "choose_point", "count_point"]

Inputs = Sequence[np.ndarray]

_SLACK = 1.1
"""How far an estimate may be above a budget so that its point is counted exactly."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A point of a Pareto front with its number formats, and what its adders cost.

    Parameters
    ----------
    point
        The point; its weights are in the model.
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


def count_point(made: PrecisionModel, engine: Engine, point: Point, inputs: Inputs) -> Choice:
    """Give the model a point's weights, find its formats, and count its adders.

    Parameters
    ----------
    made
        The model that trained its precision.
    engine
        What trained it.
    point
        The point.
    inputs
        An array for each input: what occurs in them is what the formats hold.
    """
    engine.set_weights(point.weights)
    formats = find_formats(made, inputs)
    return Choice(point, formats, count_adders(made, formats))


def choose_point(
    front: Front,
    luts: float,
    count: Callable[[Point], Choice],
    fits: Callable[[Choice], bool] | None = None,
    enough: float | None = None,
) -> Choice:
    """Return the best point of a front that is within a budget.

    Parameters
    ----------
    front
        The Pareto front, with estimated costs.
    luts
        The LUTs of adders that are allowed.
    count
        Counts a point: :func:`count_point` of the model and the inputs.
    fits
        Whether a point is within the budget; by default, whether its adders are.
    enough
        A metric that is good enough: the cheapest point that reaches it is chosen, if one within the budget
        does. None for the best one.

    Raises
    ------
    InfeasibleError
        No point is within the budget.
    MissingExtraError
        ``alkaid`` is not installed.
    """
    least = np.inf
    for point in _list_candidates(front, luts, enough):
        choice = count(point)
        if fits(choice) if fits is not None else choice.total <= luts:
            return choice
        least = min(least, choice.total)
    raise InfeasibleError(
        f"no network of the Pareto front is within {luts:,.0f} LUTs of adders; the cheapest has "
        f"{least:,.0f}. Train for more epochs, or allow for more."
    )


def _list_candidates(front: Front, luts: float, enough: float | None) -> Iterator[Point]:
    """Yield points in the order in which they are tried.

    First those that are good enough, by cost; then those whose estimate is within reach of the budget, the
    best first; then the others, by cost.
    """
    within = front.within(_SLACK * luts)
    good = [
        point
        for point in within
        if enough is not None and not better(enough, point.metric, front.increasing)
    ]
    yield from sorted(good, key=lambda point: point.cost)
    yield from (point for point in within if point not in good)
    yield from (point for point in front if point.cost > _SLACK * luts)
