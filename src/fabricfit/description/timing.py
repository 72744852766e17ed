"""Latency and initiation interval of a design, in cycles and nanoseconds, beside their deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fabricfit.description.verdicts import Verdict, compare_with_limit

__all__ = ["DEADLINES", "Timing", "spell_ns"]

DEADLINES = ("latency", "interval")
"""What can have a deadline."""

_NEARLY = 1 + 1e-9
"""A deadline is kept by whole cycles of just its length, whatever floating point makes of their product."""


@dataclass(frozen=True)
class Timing:
    """Latency or initiation interval of a design.

    Parameters
    ----------
    name
        One of :data:`DEADLINES`.
    cycles, highest
        The most likely number of cycles, and the upper end of the error bar.
    clock_ns
        The clock period in nanoseconds.
    deadline_ns
        What is allowed, in nanoseconds; None without a deadline.
    before
        Cycles of the model as it was given to a run; None where there was none.
    """

    name: str
    cycles: float
    highest: float
    clock_ns: float
    deadline_ns: float | None = None
    before: float | None = None

    @property
    def ns(self) -> float:
        """The most likely value in nanoseconds."""
        return self.cycles * self.clock_ns

    @property
    def highest_ns(self) -> float:
        """The upper end of the error bar in nanoseconds."""
        return self.highest * self.clock_ns

    @property
    def before_ns(self) -> float | None:
        """What it was before a run, in nanoseconds at the same clock."""
        return None if self.before is None else self.before * self.clock_ns

    @property
    def verdict(self) -> Verdict:
        """Whether the deadline is kept; without one it is."""
        if self.deadline_ns is None:
            return Verdict.FITS
        return compare_with_limit(self.ns, self.highest_ns, self.deadline_ns * _NEARLY)

    def is_within(self, margin: float) -> bool:
        """Whether the deadline is kept by the most likely value and so much of the error bar above it."""
        counted = self.ns + margin * (self.highest_ns - self.ns)
        return self.deadline_ns is None or counted <= self.deadline_ns * _NEARLY

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain numbers and strings, nanoseconds and the verdict included."""
        found = {
            **vars(self),
            "ns": self.ns,
            "highest_ns": self.highest_ns,
            "before_ns": self.before_ns,
        }
        return found if self.deadline_ns is None else {**found, "verdict": str(self.verdict)}

    def __str__(self) -> str:
        """Say it as a line of a report, such as ``'latency: 65 cycles, 325 ns of 1,000 ns: fits'``."""
        text = f"{_spell_cycles(self.cycles)}, {spell_ns(self.ns)} ns"
        if self.before is not None:
            text = f"{_spell_cycles(self.before)} before, {self.cycles:,.0f} after, {spell_ns(self.ns)} ns"
        if self.deadline_ns is None:
            return f"{self.name}: {text}"
        if self.verdict is Verdict.MAY_FIT:
            text += f" (up to {spell_ns(self.highest_ns)} ns)"
        return f"{self.name}: {text} of {spell_ns(self.deadline_ns)} ns: {self.verdict}"


def spell_ns(value: float) -> str:
    """Return a number of nanoseconds as tables show it."""
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.3g}"


def _spell_cycles(count: float) -> str:
    return f"{count:,.0f} cycle{'' if count == 1 else 's'}"
