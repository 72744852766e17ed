"""The price of a bit, steered so that the cost follows a path from the start to the budget.

Nobody has to find the strength of a regularization: it rises while the network costs more than the path
allows for, and falls while it costs less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fabricfit.errors import InvalidInputError

__all__ = [
    "CostPath",
    "RateCycles",
    "first_price",
    "highest_price",
    "next_price",
    "plan_cycles",
    "plan_pace",
    "plan_path",
]

_FIRST_SHARE = 0.02
"""What all bits cost at first, as a part of the loss."""

_GAIN, _LARGEST_STEP = 0.15, 0.2
"""Of the logarithm of the price in an epoch: for each unit of the logarithm of the cost, and at most."""

_CYCLE = 40
"""Epochs in a cycle of learning rates, about."""

_LEAST_CYCLES, _SHORTEST = 6, 10
"""Cycles that a short training has, and epochs that each has at least: each ends with a network of use."""

_WAY, _LONGEST_WAY = 15.0, 0.5
"""Bits that a training should be able to go, there and back; and in an epoch, with help, at most."""

_LEVEL_PART, _LEVEL_CYCLES = 0.25, 3
"""Part of the epochs, and cycles at most, that stay at the cost of a single budget."""

_STEPS = 1400
"""Steps after which a cycle may end, which is then shorter."""

_HIGH, _LOW = 5.0, 0.5
"""The highest and the lowest rate of a cycle, in terms of the optimizer's own."""

_AHEAD = 10.0
"""Epochs that a short training looks ahead."""

_WHOLE_TRAINING, _FASTEST = 450, 5.0
"""Epochs for which these hold; a shorter training steers faster, by this factor at most."""


@dataclass(frozen=True)
class CostPath:
    """The cost that a network should have at each epoch: falling by equal factors, then level.

    Parameters
    ----------
    start, end
        Cost of the first and of the last epochs.
    epochs
        All epochs.
    before, after
        Parts of the epochs that stay at the start and at the end.
    """

    start: float
    end: float
    epochs: int
    before: float = 0.05
    after: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 < self.end <= self.start < math.inf:
            raise InvalidInputError(
                "the cost falls from its start to an end above 0, in one epoch or more. Received: "
                f"start={self.start}, end={self.end}, epochs={self.epochs}"
            )
        if min(self.before, self.after) < 0 or self.before + self.after >= 1:
            raise InvalidInputError(
                "some of the epochs must be left for the way from start to end. Received: "
                f"before={self.before}, after={self.after}"
            )

    def is_level(self, epoch: int) -> bool:
        """Return whether an epoch stays at the end's cost."""
        return epoch >= (1 - self.after) * self.epochs

    def target(self, epoch: int) -> float:
        """Return the cost that the network should have at an epoch, counted from 0."""
        way = (epoch / self.epochs - self.before) / (1 - self.before - self.after)
        return self.start * (self.end / self.start) ** min(max(way, 0.0), 1.0)


@dataclass(frozen=True)
class RateCycles:
    """The learning rate of each epoch: falling by a cosine, again and again.

    What is found at a high rate is of use only after a low one, so that the epochs should be a multiple of a
    cycle.

    Parameters
    ----------
    length
        Epochs in a cycle.
    high, low
        The learning rate at its beginning and at its end.
    """

    length: int = 40
    high: float = 5e-3
    low: float = 5e-4

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        turn = math.pi * (epoch % self.length) / self.length
        return self.low + (self.high - self.low) * (1 + math.cos(turn)) / 2


def plan_cycles(epochs: int, learning_rate: float, steps: int) -> RateCycles:
    """Return whole cycles of learning rates for a number of epochs.

    Parameters
    ----------
    epochs, steps
        All epochs, and the steps of each.
    learning_rate
        The optimizer's own: a cycle falls from 5 times as much to half as much.
    """
    length = min(max(_STEPS / steps, _SHORTEST), _CYCLE)
    cycles = max(round(epochs / length), min(_LEAST_CYCLES, epochs // _SHORTEST), 1)
    return RateCycles(-(-epochs // cycles), _HIGH * learning_rate, _LOW * learning_rate)


def plan_path(start: float, end: float, epochs: int, cycle: int, *, level: bool) -> CostPath:
    """Return a path of costs whose last cycles, for a single budget, stay at its end.

    Parameters
    ----------
    start, end
        Cost of the first and of the last epochs.
    epochs, cycle
        All epochs, and those in a cycle of learning rates.
    level
        Whether the path ends level, so that nothing is lost between two points; else it falls to the end.
    """
    cycles = -(-epochs // cycle)
    kept = min(max(round(_LEVEL_PART * cycles), 1), _LEVEL_CYCLES) if cycles > 1 else _LEVEL_PART
    after = kept * cycle / epochs if level else 0.0
    return CostPath(max(start, end), end, epochs, after=min(after, 0.5))


def plan_pace(rates: RateCycles, epochs: int, steps: int) -> float:
    """Return how much further than the optimizer bits have to go so that they can arrive.

    Adam moves a bit by a learning rate in a step, at most.

    Parameters
    ----------
    rates
        The learning rates.
    epochs, steps
        All epochs, and the steps of each.
    """
    reach = steps * sum(rates.rate(epoch) for epoch in range(epochs))
    wanted, most = _WAY / max(reach, 1e-9), _LONGEST_WAY / max(steps * rates.high, 1e-9)
    return max(min(wanted, most), 1.0)


def first_price(loss: float, bits: float) -> float:
    """Return a price to begin with, at which all bits together cost a small part of the loss.

    Parameters
    ----------
    loss
        The loss of the first epoch, without a price.
    bits
        Bits of weights times bits of inputs, all together.
    """
    return _FIRST_SHARE * max(abs(loss), 1e-6) / max(bits, 1.0)


def highest_price(loss: float, bits: float) -> float:
    """Return the price beyond which a network without any bits would be the best one.

    Parameters
    ----------
    loss
        The loss of a network that knows next to nothing: that of the first epoch.
    bits
        Bits of weights times bits of inputs, all together.
    """
    return max(abs(loss), 1e-6) / max(bits, 1.0)


def next_price(
    price: float,
    cost: float,
    target: float,
    epochs: int = _WHOLE_TRAINING,
    *,
    fell: float = 0.0,
) -> float:
    """Return the price for the next epoch: higher where the cost is above its target, else lower.

    Parameters
    ----------
    price
        The present price.
    cost
        What the network costs.
    target
        What it should cost.
    epochs
        Epochs of the whole training.
    fell
        By how much the logarithm of the cost fell more than that of the target in the last epoch: bits follow
        a price slowly, so that what falls fast enough needs no higher one.
    """
    pace = min(max(_WHOLE_TRAINING / epochs, 1.0), _FASTEST)
    ahead = _AHEAD * (1 - 1 / pace) / pace  # a long training follows by itself
    error = math.log(max(cost, 1.0) / max(target, 1.0)) - ahead * fell
    step = min(max(_GAIN * error, -_LARGEST_STEP), _LARGEST_STEP)
    return price * math.exp(pace * step)
