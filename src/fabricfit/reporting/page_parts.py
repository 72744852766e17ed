"""Parts of the page of a run, as plain data for its template: verdict, facts, gauges, rows of tables."""

from __future__ import annotations

import math
from typing import Any

from fabricfit.description.timing import Timing, spell_ns
from fabricfit.description.verdicts import Verdict
from fabricfit.reporting.finished_run import FinishedRun
from fabricfit.reporting.performance import OutputPerformance, list_measured
from fabricfit.reporting.report import LayerReport, OptimizationReport
from fabricfit.reporting.summary import say_verdict, spell_metric

__all__ = [
    "format_number",
    "list_facts",
    "make_confusion",
    "make_gauges",
    "make_layers",
    "make_verdict",
    "tabulate_output",
]

_STATES = {Verdict.FITS: "yes", Verdict.MAY_FIT: "maybe", Verdict.DOES_NOT_FIT: "no"}
_BADGES = {
    Verdict.FITS: "fits the budget",
    Verdict.MAY_FIT: "may fit the budget",
    Verdict.DOES_NOT_FIT: "does not fit",
}
_ROOM = 1.12
"""What a gauge shows beyond the largest number on it."""


def format_number(value: Any) -> str:
    """Return a number as the page shows it."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if float(value) == int(value) or abs(value) >= 100 else f"{value:,.3g}"


def make_verdict(report: OptimizationReport) -> dict[str, Any]:
    """Return the badge, the state and the sentences of the verdict."""
    if report.budget is None:
        return {"state": "yes", "badge": f"sparsity {report.sparsity:.1%}", "sentences": []}
    verdict = report.verdict
    sentences = []
    highest = report.highest or report.resources_after
    rows = zip(
        report.units, report.resources_after, highest, report.budget, report.verdicts, strict=True
    )
    for unit, value, high, limit, each in rows:
        sentences += _say_limit(unit, (value, high, limit), "", each)
    for timing in report.timing:
        if timing.deadline_ns is not None:
            numbers = (timing.ns, timing.highest_ns, timing.deadline_ns)
            sentences += _say_limit(timing.name, numbers, " ns", timing.verdict)
    said = f"It {say_verdict(report)}."
    return {"state": _STATES[verdict], "badge": _BADGES[verdict], "sentences": [said, *sentences]}


def _say_limit(
    name: str, numbers: tuple[float, float, float], unit: str, verdict: Verdict
) -> list[str]:
    value, high, limit = map(format_number, numbers)
    if verdict is Verdict.DOES_NOT_FIT:
        return [f"{name}: {value}{unit} is beyond {limit}{unit}."]
    if verdict is Verdict.MAY_FIT:
        return [
            f"{name}: the most likely value, {value}{unit}, is within {limit}{unit}; the error bar reaches "
            f"to {high}{unit}."
        ]
    return []


def list_facts(report: OptimizationReport) -> list[tuple[str, str]]:
    """Return names and values for the head of the page: time, part, clock, backend, tool."""
    times = [(each.name, _say_time(each)) for each in report.timing]
    return [*report.built_for, *times]


def _say_time(timing: Timing) -> str:
    text = (
        f"{timing.cycles:,.0f} cycle{'' if timing.cycles == 1 else 's'}, {spell_ns(timing.ns)} ns"
    )
    if timing.highest > timing.cycles:
        text += f" (up to {spell_ns(timing.highest_ns)} ns)"
    return text


def make_gauges(run: FinishedRun) -> list[dict[str, Any]]:
    """Return a gauge for each resource and for each time: the value, its error bar and its limit."""
    report = run.report
    count = len(report.units)
    columns = (
        report.units,
        report.resources_before,
        report.resources_after,
        report.highest or report.resources_after,
        report.budget or (None,) * count,
        report.verdicts or (Verdict.FITS,) * count,
    )
    found = [_make_gauge(*each) for each in zip(*columns, strict=True)]
    for each in report.timing:
        before = math.nan if each.before_ns is None else each.before_ns
        name = f"{each.name}, ns ({each.cycles:,.0f} cycle{'' if each.cycles == 1 else 's'})"
        found.append(
            _make_gauge(name, before, each.ns, each.highest_ns, each.deadline_ns, each.verdict)
        )
    return found


def _make_gauge(
    unit: str, before: float, after: float, high: float, limit: float | None, verdict: Verdict
) -> dict[str, Any]:
    known = before == before
    top = max(after, high, before if limit is None and known else 0, limit or 0) * _ROOM or 1
    return {
        "unit": unit,
        "before": before if known else None,
        "after": after,
        "high": high if high > after else None,
        "limit": limit,
        "share": 100 * after / top,
        "reach": 100 * max(high - after, 0) / top,
        "mark": None if limit is None else 100 * limit / top,
        "saved": 1 - after / before if known and before else None,
        "state": "" if limit is None else _STATES[verdict],
    }


def make_layers(report: OptimizationReport) -> list[dict[str, Any]]:
    """Return a row for each layer: what it uses before and after, and how it is built."""
    built = {each.name: each for each in report.built}
    used = {layer.name for layer in report.layers}
    rows = [_make_layer(layer, report.units, built.get(layer.name)) for layer in report.layers]
    further = [each for name, each in built.items() if name not in used]
    return rows + [{"layer": None, "built": each, "bars": []} for each in further]


def _make_layer(layer: LayerReport, units: tuple[str, ...], built: Any) -> dict[str, Any]:
    pairs = zip(units, layer.resources_before, layer.resources_after, strict=True)
    bars = [
        {
            "unit": unit,
            "before": before,
            "after": after,
            "share": 100 * after / (max(before, after) or 1),
        }
        for unit, before, after in pairs
    ]
    return {"layer": layer, "bars": bars, "built": built}


def tabulate_output(output: OutputPerformance) -> dict[str, Any]:
    """Return the table of an output: its header, and a row for each class or number."""
    networks = [("floats", output.in_floats)]
    networks += [] if output.quantized is None else [("quantized", output.quantized)]
    names = ("recognized", "AUC") if output.counts else ("bias", "RMS of residuals")
    header = [f"{name}, {which}" for name in names for which, _ in networks]
    rows = []
    for place, label in enumerate(output.labels):
        columns = [list_measured(each, place) for _, each in networks]
        cells = [
            spell_metric(x.value, x.error) for pair in zip(*columns, strict=True) for x in pair
        ]
        count = format_number(output.counts[place]) if output.counts else None
        rows.append({"label": label, "count": count, "cells": cells})
    return {"header": header, "rows": rows, "counted": bool(output.counts)}


def make_confusion(output: OutputPerformance) -> dict[str, Any] | None:
    """Return the matrix of confusion, of each row what part goes where; None where there is none."""
    classes = (output.quantized or output.in_floats).classes
    if classes is None or not classes.confusion:
        return None
    rows = []
    for label, cells in zip(output.labels, classes.confusion, strict=True):
        whole = sum(cells) or 1
        shares = [
            {"share": 100 * each / whole, "count": each, "predicted": name}
            for each, name in zip(cells, output.labels, strict=True)
        ]
        rows.append({"label": label, "cells": shares})
    which = "floats" if output.quantized is None else "quantized"
    return {"labels": output.labels, "rows": rows, "which": which}
