"""Whether a design fits a budget, as far as estimates can tell."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = ["Verdict", "compare_with_limit", "worst_verdict"]


class Verdict(Enum):
    """What an estimate says of a limit."""

    FITS = "fits"
    """The upper end of the error bar is within the limit."""
    MAY_FIT = "may fit"
    """The most likely value is, the upper end is not."""
    DOES_NOT_FIT = "does not fit"
    """The most likely value is beyond the limit."""

    def __str__(self) -> str:
        return self.value


_BY_SEVERITY = (Verdict.FITS, Verdict.MAY_FIT, Verdict.DOES_NOT_FIT)


def compare_with_limit(value: float, high: float, limit: float) -> Verdict:
    """Return what an estimate says of a limit.

    Parameters
    ----------
    value, high
        The most likely value, and the upper end of the error bar.
    limit
        The limit.
    """
    if value > limit:
        return Verdict.DOES_NOT_FIT
    return Verdict.FITS if high <= limit else Verdict.MAY_FIT


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of several verdicts; that it fits where there is none."""
    return max(verdicts, key=_BY_SEVERITY.index, default=Verdict.FITS)
