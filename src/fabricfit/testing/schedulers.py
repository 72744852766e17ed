"""A check of a scheduler against what a run expects of it."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator

from fabricfit.scheduler import OptimizationScheduler

__all__ = ["check_scheduler"]

_ACCEPTED_SHARES = (0.0, 1.0, *(0.1, 0.5, 0.9) * 5)
"""Shares of accepted levels in the sequences that are tried."""


def check_scheduler(
    make_scheduler: Callable[[], OptimizationScheduler], *, most_levels: int = 10_000, seed: int = 0
) -> None:
    """Check that a scheduler does what a run expects, whichever levels are accepted.

    Its levels have to be fractions between its bounds, and to end after a while. While all levels are
    accepted, they rise, and the last one is the final sparsity itself. Equal schedulers and copies choose the
    same levels: a run works on a copy, and a resumed run repeats the levels of the interrupted one.

    Parameters
    ----------
    make_scheduler
        Makes a new scheduler, the same each time.
    most_levels
        Most levels that a run may try.
    seed
        Of the sequences of accepted and rejected levels.

    Raises
    ------
    AssertionError
        The scheduler does something else; the message names the level.

    Examples
    --------
    >>> from fabricfit.scheduler import PolynomialScheduler
    >>> from fabricfit.testing import check_scheduler
    >>> check_scheduler(lambda: PolynomialScheduler(5, final_sparsity=0.9))
    """
    scheduler = make_scheduler()
    name = type(scheduler).__name__
    assert isinstance(scheduler, OptimizationScheduler), (
        f"make_scheduler must return an OptimizationScheduler. Received: {scheduler!r}"
    )
    _check_rise(name, scheduler, most_levels)
    draw = random.Random(seed)
    for share in _ACCEPTED_SHARES:
        verdicts = [draw.random() < share for _ in range(most_levels)]
        _check_sequence(name, make_scheduler(), make_scheduler(), verdicts)


def _check_rise(name: str, scheduler: OptimizationScheduler, most_levels: int) -> None:
    """Check the levels of a run that accepts all of them."""
    start, end = scheduler.get_sparsity(), scheduler.upper_bound
    tried = list(_follow(name, scheduler, [True] * most_levels))
    levels = tried if start > 0 else [start, *tried]
    for lower, higher in itertools.pairwise(levels):
        assert higher > lower, f"{name} falls from {lower} to {higher}, though {lower} was accepted"
    assert levels[-1] == end, (
        f"{name} must end at its final sparsity {end}, if all levels are accepted. It ends at {levels[-1]}"
    )


def _check_sequence(
    name: str, one: OptimizationScheduler, other: OptimizationScheduler, verdicts: list[bool]
) -> None:
    """Check levels for a sequence of verdicts, and that equal schedulers and copies agree on them."""
    low, high = one.lower_bound, one.upper_bound
    copied = copy.deepcopy(other)
    levels = list(_follow(name, one, verdicts))
    outside = [level for level in levels if not low <= level <= high]
    assert not outside, f"{name} leaves its bounds {low} and {high}: {outside[0]}"
    for twin, what in ((other, "a second one"), (copied, "a copy")):
        again = list(_follow(name, twin, verdicts))
        assert again == levels, f"{name} chose the levels {levels}, but {what} chose {again}"


def _follow(name: str, scheduler: OptimizationScheduler, verdicts: list[bool]) -> Iterator[float]:
    """Yield the levels of a run that accepts and rejects them as given."""
    changed, level = True, scheduler.get_sparsity()
    if not level > 0:
        changed, level = _step(name, scheduler, accepted=True)
    for accepted in verdicts:
        if not changed:
            return
        yield level
        changed, level = _step(name, scheduler, accepted)
    assert not changed, f"{name} has no end: it goes on after {len(verdicts)} levels"


def _step(name: str, scheduler: OptimizationScheduler, accepted: bool) -> tuple[bool, float]:
    method = "update_step" if accepted else "repair_step"
    before = scheduler.get_sparsity()
    found = getattr(scheduler, method)()
    assert isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], bool), (
        f"{name}.{method} must return whether there is a new level, and the level. Received: {found!r}"
    )
    changed, level = found
    assert level == scheduler.get_sparsity(), (
        f"{name}.{method} returned the level {level}, but get_sparsity {scheduler.get_sparsity()}"
    )
    assert changed == (level != before), (
        f"{name}.{method} said {'' if changed else 'no '}new level, but went from {before} to {level}"
    )
    return changed, float(level)
