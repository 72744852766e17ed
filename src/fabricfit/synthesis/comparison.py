"""A tool's report beside fabricfit's estimate of the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fabricfit.hardware.estimates import RESOURCES, Estimate
from fabricfit.hls4ml.estimation import ModelEstimate
from fabricfit.synthesis.reports import SynthesisReport
from fabricfit.tables import TextTable

__all__ = ["Compared", "Comparison", "compare"]


@dataclass(frozen=True)
class Compared:
    """One number of a report beside its estimate.

    Parameters
    ----------
    name
        A resource, ``'interval'`` or ``'latency'``.
    reported
        What the tool says; ``None`` where it says nothing.
    estimate
        What was estimated, with its error bar.
    """

    name: str
    reported: float | None
    estimate: Estimate

    @property
    def ratio(self) -> float | None:
        """What was reported for each one that was estimated; ``None`` without a report, or for 0."""
        if self.reported is None or not self.estimate.value:
            return None
        return self.reported / self.estimate.value

    @property
    def inside(self) -> bool | None:
        """Whether what was reported lies in the error bar, ends included; ``None`` without a report."""
        if self.reported is None:
            return None
        return self.estimate.low <= self.reported <= self.estimate.high

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain numbers and strings."""
        return {
            "reported": self.reported,
            "estimated": self.estimate.value,
            "low": self.estimate.low,
            "high": self.estimate.high,
            "note": self.estimate.note,
            "ratio": self.ratio,
            "inside": self.inside,
        }


@dataclass(frozen=True)
class Comparison:
    """A report beside an estimate.

    Parameters
    ----------
    tool, stage, part
        Of the report.
    resources
        One for each resource, in the order of :data:`fabricfit.hardware.estimates.RESOURCES`.
    interval
        Cycles between two samples; of a report's range, the longest.
    latency
        Cycles from input to output; of a report's range, the longest.
    """

    tool: str
    stage: str
    part: str
    resources: tuple[Compared, ...]
    interval: Compared
    latency: Compared

    @property
    def inside(self) -> bool:
        """Whether everything that was reported lies in its error bar."""
        return all(each.inside is not False for each in self._all)

    @property
    def _all(self) -> tuple[Compared, ...]:
        return (*self.resources, self.interval, self.latency)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain numbers, strings and dictionaries."""
        return {
            "tool": self.tool,
            "stage": self.stage,
            "part": self.part,
            "resources": {each.name: each.to_dict() for each in self.resources},
            "interval": self.interval.to_dict(),
            "latency": self.latency.to_dict(),
            "inside": self.inside,
        }

    def __str__(self) -> str:
        rows = [_row(each) for each in self._all if each.reported or each.estimate.high]
        header = ("", "reported", "estimated", "ratio", "")
        table = TextTable(header, rows, names=frozenset((0, 4))).lines()
        notes = dict.fromkeys(each.estimate.note for each in self._all if each.estimate.note)
        heading = ", ".join(text for text in (self.tool, self.stage, self.part) if text)
        return "\n".join([heading, *table, *(f"note: {note}" for note in notes)])


def compare(report: SynthesisReport, estimate: ModelEstimate) -> Comparison:
    """Put what a tool reports beside what fabricfit estimates for the same model.

    fabricfit estimates LUTs and flip-flops as HLS counts them: the report of logic synthesis is often
    lower.

    Parameters
    ----------
    report
        What a tool reports.
    estimate
        What was estimated for the model and the configuration that it was run with.
    """
    expected = estimate.resources
    return Comparison(
        report.tool,
        report.stage,
        report.part,
        tuple(Compared(name, report.resources.get(name), expected[name]) for name in RESOURCES),
        Compared("interval", report.interval[1], estimate.interval),
        Compared("latency", report.latency[1], estimate.latency),
    )


_VERDICTS = {True: "inside", False: "OUTSIDE", None: ""}


def _row(each: Compared) -> tuple[str, str, str, str, str]:
    return (
        each.name.upper() if each.name in RESOURCES else each.name,
        "?" if each.reported is None else f"{each.reported:,.10g}",
        str(each.estimate),
        "" if each.ratio is None else f"{each.ratio:.2f}",
        _VERDICTS[each.inside],
    )
