"""Comparison of a tool's report with fabricfit's estimate of the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.resource_records import find_resource, resource_names
from fabricfit.hls4ml.estimation import ModelEstimate
from fabricfit.synthesis.reports import SynthesisReport
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["Compared", "Comparison", "compare"]


@dataclass(frozen=True)
class Compared:
    """One number of a report and its estimate.

    Parameters
    ----------
    name
        A resource, ``'interval'`` or ``'latency'``.
    reported
        Number that the tool reports; ``None`` where it reports none.
    estimate
        Estimate with its error bar.
    """

    name: str
    reported: float | None
    estimate: Estimate

    @property
    def ratio(self) -> float | None:
        """Reported number divided by the estimate; ``None`` without a report, or for an estimate of 0."""
        if self.reported is None or not self.estimate.value:
            return None
        return self.reported / self.estimate.value

    @property
    def inside(self) -> bool | None:
        """Whether the reported number lies in the error bar, ends included; ``None`` without a report."""
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
class Comparison(Printable):
    """Comparison of a report with an estimate.

    Parameters
    ----------
    tool, stage, part
        Tool, stage and part of the report.
    resources
        One for each resource, in the order of :func:`fabricfit.hardware.resource_names`.
    interval
        Initiation interval in cycles; of a report's range, the longest.
    latency
        Latency in cycles; of a report's range, the longest.
    """

    tool: str | None
    stage: str
    part: str | None
    resources: tuple[Compared, ...]
    interval: Compared
    latency: Compared

    @property
    def inside(self) -> bool:
        """Whether all reported numbers lie in their error bars."""
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

    def _make_document(self) -> Document:
        rows = [_make_row(each) for each in self._all if each.reported or each.estimate.high]
        header = ("", "reported", "estimated", "ratio", "")
        table = TextTable(header, rows, names=frozenset((0, 4)))
        notes = dict.fromkeys(each.estimate.note for each in self._all if each.estimate.note)
        heading = ", ".join(text for text in (self.tool, self.stage, self.part) if text)
        return Document([heading, table, *(f"note: {note}" for note in notes)])


def compare(report: SynthesisReport, estimate: ModelEstimate) -> Comparison:
    """Compare a tool's report with fabricfit's estimate of the same model.

    A report of HLS is compared with what HLS is expected to report, one of a netlist with what logic
    synthesis is expected to leave, as far as the estimate tells them apart. A report of a co-simulation has
    cycles only, and one of timing neither. Of an accelerator, whose top function is an AXI wrapper, the
    function in it is compared, where the report lists it: estimates are of the network.

    Parameters
    ----------
    report
        Report of the tool.
    estimate
        Estimate for the same model and configuration.
    """
    report = _without_wrapper(report)
    expected, names = _expected_resources(estimate, report.stage), resource_names()
    return Comparison(
        report.tool,
        report.stage,
        report.part,
        tuple(Compared(name, report.resources.get(name), expected[name]) for name in names),
        Compared("interval", report.interval[1], estimate.interval),
        Compared("latency", report.latency[1], estimate.latency),
    )


def _without_wrapper(report: SynthesisReport) -> SynthesisReport:
    """Return what a report says of the network in an AXI wrapper, which hls4ml calls ``<network>_axi``."""
    network = (report.top or "").removesuffix("_axi")
    row = next((row for row in report.rows if row.name == network), None)
    if row is None or not row.resources:
        return report
    return replace(
        report,
        resources={"uram": 0.0} | row.resources,
        interval=row.interval,
        latency=row.latency,
        top=network,
    )


def _expected_resources(estimate: ModelEstimate, stage: str) -> Mapping[str, Estimate]:
    """Return the resources of an estimate as they are counted at a stage; the one place that chooses them.

    HLS reports more LUTs and flip-flops than are left in a netlist.
    """
    netlist = stage in ("logic synthesis", "implementation")
    return estimate.synthesized if netlist else estimate.resources


_VERDICTS = {True: "inside", False: "OUTSIDE", None: ""}


def _make_row(each: Compared) -> tuple[str, str, str, str, str]:
    return (
        find_resource(each.name).label if each.name in resource_names() else each.name,
        "?" if each.reported is None else f"{each.reported:,.10g}",
        str(each.estimate),
        "" if each.ratio is None else f"{each.ratio:.2f}",
        _VERDICTS[each.inside],
    )
