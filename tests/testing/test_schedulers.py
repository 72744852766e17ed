"""The check of schedulers finds those that would break a run; it needs no Keras."""

from __future__ import annotations

import itertools

import pytest

from fabricfit.scheduler import OptimizationScheduler
from fabricfit.testing import check_scheduler


class Halves(OptimizationScheduler):
    """A scheduler of one's own, as a plug-in has it: half of the way, then all of it."""

    def update_step(self):
        middle = 0.5 * (self.lower_bound + self.upper_bound)
        return self._move_to(middle if self.sparsity < middle else self.upper_bound)

    def repair_step(self):
        return self.update_step()


def test_a_scheduler_of_ones_own_passes():
    check_scheduler(Halves)
    check_scheduler(lambda: Halves(0.5, 0.5))
    check_scheduler(lambda: Halves(0.2, 0.7))


class Endless(Halves):
    def repair_step(self):
        return self._move_to(0.25 if self.sparsity != 0.25 else 0.5)


class Short(Halves):
    def update_step(self):
        return self._move_to(0.5 * self.upper_bound)


class Falling(Halves):
    def update_step(self):
        return self._move_to({0.0: 0.5, 0.5: 0.25}.get(self.sparsity, self.upper_bound))


class Wide(Halves):
    def repair_step(self):
        return self._move_to(1.5)


class Silent(Halves):
    def update_step(self):
        return super().update_step()[0]


class Forgetful(Halves):
    def update_step(self):
        return True, 0.5


class Contradictory(Halves):
    def update_step(self):
        return True, super().update_step()[1]


class Shared(Halves):
    numbers = itertools.count()

    def repair_step(self):
        return self._move_to(max(self.sparsity, 1 - 1 / (2 + next(Shared.numbers))))


@pytest.mark.parametrize(
    "kind, message",
    [
        (Endless, "has no end"), (Short, "must end at its final sparsity"), (Falling, "falls from 0.5"),
        (Wide, "leaves its bounds"), (Silent, "must return whether"), (Forgetful, "but get_sparsity"),
        (Contradictory, "said new level"), (Shared, "chose the levels|has no end"),
        (lambda: 3, "must return an OptimizationScheduler"),
    ],
)  # fmt: skip
def test_schedulers_that_would_break_a_run_are_found(kind, message):
    with pytest.raises((AssertionError, AttributeError), match=message):
        check_scheduler(kind, most_levels=200)
