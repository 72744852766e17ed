"""What a result prints as: ten lines, of the verdict, the metric, the resources and what to do next."""

from __future__ import annotations

import math
from pathlib import Path

from fabricfit.description.timing import Timing, spell_ns
from fabricfit.description.verdicts import Verdict
from fabricfit.reporting.report import OptimizationReport
from fabricfit.tables import Facts

__all__ = ["say_verdict", "spell_metric", "summarize"]

_SENTENCES = {
    Verdict.FITS: "fits the budget",
    Verdict.MAY_FIT: "fits the budget within the error of the estimate",
    Verdict.DOES_NOT_FIT: "does not fit the budget",
}


_DIGITS = 30
"""Digits behind the point, at most."""

_ROUNDING = 1e-9
"""An error is none that is a smaller part of its value."""


def say_verdict(report: OptimizationReport) -> str:
    """Return the verdict as a part of a sentence."""
    if report.budget is None:
        return f"saves {report.sparsity:.1%}"
    return _SENTENCES[report.verdict]


def spell_metric(value: float, error: float = math.nan) -> str:
    """Return a metric with its standard error, to two digits of that; without one to four digits."""
    if not math.isfinite(value):
        return "not known"
    if not math.isfinite(error) or error <= _ROUNDING * abs(value):
        return f"{value:.4g}"
    digits = min(max(1 - int(f"{error:.1e}".partition("e")[2]), 0), _DIGITS)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def summarize(report: OptimizationReport, name: str, directory: Path) -> Facts:
    """Return about ten lines on a result.

    Parameters
    ----------
    report
        The run's report.
    name
        The model's name.
    directory
        The run's folder.
    """
    errors = report.metric_errors or (math.nan, math.nan)
    metric = " → ".join(
        spell_metric(*each)
        for each in zip((report.metric_before, report.metric_after), errors, strict=True)
    )
    if report.threshold is not None:
        metric += f", {spell_metric(report.threshold)} was required"
    metric += f"; of {report.evaluated}" if report.evaluated else ""
    rows = [(name, say_verdict(report)), (report.metric_name, metric)]
    rows += [(unit, _say_usage(report, index)) for index, unit in enumerate(report.units)]
    rows += [(each.name, _say_timing(each)) for each in report.timing]
    weights, left = (
        sum(getattr(each, field) for each in report.layers)
        for field in ("weights", "nonzeros_after")
    )
    rows.append(("weights", f"{left:,} of {weights:,} are not zero"))
    if report.built_for:
        rows.append(("built for", ", ".join(value for _, value in report.built_for)))
    rows.append(("run", str(directory)))
    doors = ["evaluate(X, y)", "verify(X)"] if report.built_for else []
    doors += ['save("folder")', "write_report()"]
    rows.append(("next", f"result.{', .'.join(doors)}; print(result.report) lists the layers"))
    return Facts(rows)


def _say_usage(report: OptimizationReport, index: int) -> str:
    before, after = report.resources_before[index], report.resources_after[index]
    text = f"{before:,.0f} → {after:,.0f}"
    if report.budget is None:
        return text
    limit = report.budget[index]
    text += f" of {limit:,.0f}"
    high = report.highest[index] if report.highest else after
    text += f", up to {high:,.0f}" if high > after else ""
    return f"{text}: {report.verdicts[index]}"


def _say_timing(timing: Timing) -> str:
    before = "" if timing.before is None else f"{timing.before:,.0f} → "
    text = f"{before}{timing.cycles:,.0f} cycle{'' if timing.cycles == 1 else 's'}"
    text += f", {spell_ns(timing.ns)} ns"
    if timing.deadline_ns is None:
        return text
    high = f", up to {spell_ns(timing.highest_ns)} ns" if timing.highest > timing.cycles else ""
    return f"{text} of {spell_ns(timing.deadline_ns)} ns{high}: {timing.verdict}"
