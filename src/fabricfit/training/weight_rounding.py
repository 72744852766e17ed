"""Weights rounded to their number formats while they train.

The loss is that of the rounded weights, and its gradient passes the rounding as if it were not there: the
straight-through estimator (Bengio, Léonard and Courville, 2013, arXiv:1308.3432). What trains are the weights
themselves, whose small steps add up until a rounded one changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from fabricfit.description.precision import FixedPrecision

__all__ = ["MOST_BITS", "WeightRounding"]

MOST_BITS = 12
"""Rounding to wider formats changes so little that it need not be trained with."""


class WeightRounding:
    """The number formats of a model's weights.

    Parameters
    ----------
    model
        The model that is trained.
    formats
        Trainable variables, each with its format; those wider than :data:`MOST_BITS` are left out. Numbers
        out of range saturate.
    """

    def __init__(
        self,
        model: keras.Model | None = None,
        formats: Iterable[tuple[keras.Variable, FixedPrecision]] = (),
    ) -> None:
        trained = [] if model is None else model.trainable_variables
        places = {id(variable): place for place, variable in enumerate(trained)}
        self._formats = {
            places[id(variable)]: form
            for variable, form in formats
            if id(variable) in places and form.width <= MOST_BITS
        }

    def __bool__(self) -> bool:
        return bool(self._formats)

    def __call__(self, weights: list[Any]) -> list[Any]:
        """Return the values of trainable variables, rounded; a pure function whose derivative is one."""
        found = list(weights)
        for place, form in self._formats.items():
            weight = found[place]
            change = _round(weight, form) - weight
            found[place] = weight + ops.stop_gradient(change)
        return found


def _round(weight: Any, form: FixedPrecision) -> Any:
    """Return weights on the grid of a format, halves rounded to even."""
    unit = 2.0**-form.fractional
    lowest = -(2 ** (form.width - 1)) if form.signed else 0
    highest = 2 ** (form.width - form.signed) - 1
    return ops.clip(ops.round(weight / unit), lowest, highest) * unit
