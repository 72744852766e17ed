"""Schedules of a run's sparsity, level by level.

A scheduler is asked for the next level after a good one (:meth:`~OptimizationScheduler.update_step`) or
after a bad one (:meth:`~OptimizationScheduler.repair_step`). Both answer ``(changed, sparsity)``:
``changed`` is false once there is nothing left to try. The last step of every scheduler is exactly
``final_sparsity``, not a rounding error beside it.

The optimizer works on a copy, so a scheduler object can be used for any number of runs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from fabricfit.checks import flag, number, whole_number
from fabricfit.errors import InvalidInputError, code_of_others, spell

__all__ = [
    "BinaryScheduler",
    "ConstantScheduler",
    "OptimizationScheduler",
    "PolynomialScheduler",
    "next_level",
]

_LEAST_STEP = 1e-12
"""Steps lower than this are no lower."""


class OptimizationScheduler(ABC):
    """Base of all schedulers; subclass it for a schedule of your own.

    Parameters
    ----------
    initial_sparsity, final_sparsity
        Fractions of the resource to save, in [0, 1]: 0.9 leaves a tenth.

    Raises
    ------
    InvalidInputError
        A sparsity is outside [0, 1], or the final one is below the initial one.
    """

    def __init__(self, initial_sparsity: float = 0, final_sparsity: float = 1.0) -> None:
        for name, value in (
            ("initial_sparsity", initial_sparsity),
            ("final_sparsity", final_sparsity),
        ):
            number(name, value, least=0, most=1)
        if final_sparsity < initial_sparsity:
            raise InvalidInputError(
                "final_sparsity must not be below initial_sparsity. Received: "
                f"initial_sparsity={initial_sparsity!r}, final_sparsity={final_sparsity!r}"
            )
        self.sparsity = float(initial_sparsity)
        self.lower_bound = float(initial_sparsity)
        self.upper_bound = float(final_sparsity)

    @abstractmethod
    def update_step(self) -> tuple[bool, float]:
        """Move on after a level that was good enough.

        Returns
        -------
        changed : bool
            Whether there is a new level to try.
        sparsity : float
            The level.
        """

    @abstractmethod
    def repair_step(self) -> tuple[bool, float]:
        """Move on after a level that cost too much.

        Returns
        -------
        changed : bool
            Whether there is a new level to try.
        sparsity : float
            The level.
        """

    def get_sparsity(self) -> float:
        """Return the current level."""
        return self.sparsity

    def _move_to(self, sparsity: float) -> tuple[bool, float]:
        changed = sparsity != self.sparsity
        self.sparsity = sparsity
        return changed, sparsity


def next_level(
    scheduler: OptimizationScheduler, *, good: bool, current: float | None = None
) -> tuple[bool, float]:
    """Return what a scheduler answers after a level, checked.

    Parameters
    ----------
    scheduler
        Anybody's.
    good
        Whether the level was good enough.
    current
        Its sparsity.

    Raises
    ------
    InvalidInputError
        It raises something, or answers something else than whether there is a new level, and a sparsity.
    """
    kind = type(scheduler).__name__
    method = "update_step" if good else "repair_step"
    with code_of_others(f"{kind}.{method}"):
        answer = getattr(scheduler, method)()
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise InvalidInputError(
            f"{kind}.{method} must return a pair: whether there is a new level, and its sparsity. "
            f"Received: {spell(answer)}"
        )
    sparsity = number(f"the sparsity that {kind}.{method} returns", answer[1], least=0, most=1)
    changed = flag(f"what {kind}.{method} returns first", answer[0])
    if good and changed and sparsity == current:
        raise InvalidInputError(
            f"{kind}.{method} must return another sparsity than that of the level that was good, or False. "
            f"Received: {spell(answer)}"
        )
    return changed, sparsity


class ConstantScheduler(OptimizationScheduler):
    """Equal steps: ``initial + n * update_step``, the last one cut short to end at ``final``.

    After a bad level the next one is tried: a step is small, and a network whose metric drops at one
    level may recover at the next. How many bad levels in a row are allowed is the optimizer's
    ``cutoff_bad_trials``.

    Parameters
    ----------
    initial_sparsity, final_sparsity
        Fractions in [0, 1].
    update_step
        Height of one step, above 0.
    """

    def __init__(
        self, initial_sparsity: float = 0, final_sparsity: float = 1.0, update_step: float = 0.05
    ) -> None:
        super().__init__(initial_sparsity, final_sparsity)
        self.increment = number("update_step", update_step, above=0, most=1)
        self._steps = 0
        # A whole number of steps that misses the end by a rounding error is that whole number.
        steps = (self.upper_bound - self.lower_bound) / max(self.increment, _LEAST_STEP)
        self._last = math.ceil(round(steps, 9))

    def update_step(self) -> tuple[bool, float]:
        """Rise by one step, at most to the final sparsity."""
        self._steps = min(self._steps + 1, self._last)
        if self._steps == self._last:
            return self._move_to(self.upper_bound)
        return self._move_to(self.lower_bound + self._steps * self.increment)

    def repair_step(self) -> tuple[bool, float]:
        """Rise by one step all the same."""
        return self.update_step()


class BinaryScheduler(OptimizationScheduler):
    """Bisection between the highest good and the lowest bad sparsity.

    While no level has failed it heads for the final sparsity, halving the distance; once the distance
    is below the threshold it tries the final sparsity itself. After a failure it looks between the
    last good level and the failed one, until they are less than the threshold apart.

    Parameters
    ----------
    initial_sparsity, final_sparsity
        Fractions in [0, 1].
    threshold
        Distance at which the search ends, above 0 and at most 1.
    """

    def __init__(
        self, initial_sparsity: float = 0, final_sparsity: float = 1.0, threshold: float = 0.01
    ) -> None:
        super().__init__(initial_sparsity, final_sparsity)
        self.threshold = number("threshold", threshold, above=0, most=1)
        self._failed = False

    def update_step(self) -> tuple[bool, float]:
        """Rise halfway to the final sparsity, or to the lowest level that failed."""
        self.lower_bound = self.sparsity
        if self.upper_bound - self.sparsity >= self.threshold:
            return self._move_to(0.5 * (self.lower_bound + self.upper_bound))
        if not self._failed:
            return self._move_to(self.upper_bound)
        return False, self.sparsity

    def repair_step(self) -> tuple[bool, float]:
        """Fall halfway back to the last good level."""
        self.upper_bound = self.sparsity
        self._failed = True
        if self.upper_bound - self.lower_bound >= self.threshold:
            return self._move_to(0.5 * (self.lower_bound + self.upper_bound))
        return False, self.sparsity


class PolynomialScheduler(OptimizationScheduler):
    r"""Large steps first, small ones near the end.

    .. math:: s_n = s_f + (s_i - s_f)\,(1 - n / N)^p

    after Zhu and Gupta, "To prune, or not to prune" (2017), arXiv:1710.01878. Like
    :class:`ConstantScheduler` it moves to the next step after a bad level.

    Parameters
    ----------
    maximum_steps
        Number of steps N, at least 1.
    initial_sparsity, final_sparsity
        Fractions in [0, 1].
    decay_power
        The power p, above 0.
    """

    def __init__(
        self,
        maximum_steps: int,
        initial_sparsity: float = 0,
        final_sparsity: float = 1.0,
        decay_power: float = 3,
    ) -> None:
        super().__init__(initial_sparsity, final_sparsity)
        steps = whole_number("maximum_steps", maximum_steps)
        self.maximum_steps = steps
        self.decay_power = number("decay_power", decay_power, above=0)
        self.current_step = 0

    def update_step(self) -> tuple[bool, float]:
        """Take the next step of the polynomial."""
        if self.current_step >= self.maximum_steps:
            return False, self.sparsity
        self.current_step += 1
        rest = (1 - self.current_step / self.maximum_steps) ** self.decay_power
        return self._move_to(self.upper_bound + (self.lower_bound - self.upper_bound) * rest)

    def repair_step(self) -> tuple[bool, float]:
        """Take the next step all the same."""
        return self.update_step()
