"""Plan of a training of precision: the adders that a budget allows for, and the path of costs to them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from fabricfit.errors import InfeasibleError
from fabricfit.hardware.budget import Budget
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.trained_design import TrainedDesign
from fabricfit.precision.steering import plan_cycles, plan_pace, plan_path
from fabricfit.precision.training import PrecisionTraining
from fabricfit.samples import Dataset
from fabricfit.training import fresh_optimizer

__all__ = ["allowed_adders", "count_steps", "make_plan"]

_NEARLY = 0.97
"""The part of a budget that a training aims at."""

_AMPLE, _BELOW = 0.5, 0.5
"""Where a path ends: a part of the first cost where a budget allows for more; a part of the least budget of
several, since the best points lie before a path's end."""

_CHEAP = 0.2
"""Where a path ends that looks for the cheapest network that is good enough: a part of the first cost."""

_FIRST_KEPT = 8


def allowed_adders(
    design: TrainedDesign, others: np.ndarray, limits: np.ndarray, budget: Budget
) -> float:
    """Return the LUTs of adders that a budget allows for, infinite where it limits none.

    Whatever else grows with the adders, such as flip-flops, is assumed to do so in proportion.
    """
    short = others > limits
    if short.any():
        named = ", ".join(
            f"{amount:,.0f} {unit} of {limit:,.0f}"
            for amount, limit, unit in zip(others, limits, design.units, strict=True)
            if amount > limit
        )
        raise InfeasibleError(
            f"{budget!r} cannot be met by training precision: all that is not a product of weights uses "
            f"{named}. Allow for more, or leave out layers such as a softmax, which the largest output does "
            "not depend on."
        )
    shares = [
        (limit - other) / of_adders
        for other, limit, of_adders in zip(others, limits, design.of_adders, strict=True)
        if of_adders > 0
    ]
    return float(min(shares, default=np.inf) * design.luts_of_adders)


def make_plan(
    settings: OptimizationSettings, start: float, adders: Sequence[float], steps: int
) -> PrecisionTraining:
    """Return the path of costs and the rates: level at the end for one budget, on its way for several."""
    epochs, single = settings.epochs, len(adders) == 1
    rate = float(keras.ops.convert_to_numpy(fresh_optimizer(settings.optimizer).learning_rate))
    rates = plan_cycles(epochs, rate, steps)
    least = float(np.nanmin(adders)) * (_NEARLY if single else _BELOW)
    ample = _CHEAP if settings.is_bounded else _AMPLE
    end = max(min(least, ample * start), 1.0)
    path = plan_path(start, end, epochs, rates.length, level=single)
    pace, first = plan_pace(rates, epochs, steps), min(_FIRST_KEPT, epochs // 4)
    return PrecisionTraining(path, rates, settings.batch_size, first, pace)


def count_steps(data: Dataset, batch_size: int) -> int:
    """Return the steps of an epoch."""
    if data.size is not None:
        return -(-data.size // batch_size)
    return sum(1 for _ in data.batches(batch_size))
