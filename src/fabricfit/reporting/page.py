"""Report of a run as one web page without external files, for light and dark themes and for print."""

from __future__ import annotations

import datetime
import json
from importlib import resources
from pathlib import Path
from typing import Any

from fabricfit._version import __version__
from fabricfit.description.quantities import spell_time
from fabricfit.description.verdicts import Verdict
from fabricfit.errors import require
from fabricfit.reporting.figures import (
    draw_alternatives,
    draw_formats,
    draw_front,
    draw_map,
    write_themed_svg,
)
from fabricfit.reporting.finished_run import FinishedRun
from fabricfit.reporting.report import LayerReport, OptimizationReport
from fabricfit.run.files import PAGE, RunDirectory

__all__ = ["read_run", "render_page", "write_page"]


def read_run(directory: Path) -> FinishedRun:
    """Return the finished run in a folder: see :meth:`FinishedRun.read`."""
    return FinishedRun.read(Path(directory))


def write_page(run: FinishedRun, path: Path | None = None) -> Path:
    """Write the report of a run as a web page.

    Parameters
    ----------
    run
        The run.
    path
        The file; ``report.html`` in the run's folder by default.
    """
    target = Path(path) if path is not None else run.directory / PAGE
    text = render_page(run)
    folder = RunDirectory.existing(target.absolute().parent)
    return folder.write(target.name, lambda part: part.write_text(text, encoding="utf-8"))


def render_page(run: FinishedRun) -> str:
    """Return the report of a run as HTML.

    Raises
    ------
    MissingExtraError
        Jinja2 or Matplotlib is not installed (extra ``report``).
    """
    jinja2 = require("jinja2", "report", "writing a report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _format_number
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    source = resources.files("fabricfit.reporting") / "page.html.j2"
    report = run.report
    text: str = environment.from_string(source.read_text(encoding="utf-8")).render(
        report=report,
        title=_title_page(run),
        run=run,
        manifest=run.manifest,
        gauges=_make_gauges(run),
        layers=[_make_layer(each, report.units) for each in report.layers],
        front=write_themed_svg(draw_front(report)),
        alternatives=_draw_alternatives(report),
        formats=write_themed_svg(draw_formats(report)) if report.formats else "",
        maps=[_make_map(name, codes) for name, codes in run.maps.items()],
        hls_config=None if run.hls_config is None else json.dumps(run.hls_config, indent=2),
        settings=_list_settings(run),
        when=_format_time(run.manifest.get("begun")),
        version=__version__,
        seconds=run.status.now - run.status.begun,
    )
    return text


def _draw_alternatives(report: OptimizationReport) -> str:
    """Return the figure of the designs that were tried; '' where there was no choice."""
    return write_themed_svg(draw_alternatives(report)) if len(report.alternatives) > 1 else ""


def _title_page(run: FinishedRun) -> str:
    report = run.report
    goal = f"fewer {', '.join(report.units)}"
    if report.budget is not None:
        limits = zip(report.units, report.budget, strict=True)
        named = run.manifest["goal"].get("budget")
        goal = named or ", ".join(f"{limit:,.0f} {unit}" for unit, limit in limits)
        for each in report.timing:
            if each.deadline_ns is not None and f"{each.name}=" not in goal:
                goal += f", {each.name} {spell_time(each.deadline_ns)}"
    return f"{run.manifest.get('model', 'A model')} for {goal}"


def _format_number(value: Any) -> str:
    return f"{value:,.0f}" if float(value) == int(value) or abs(value) >= 100 else f"{value:,.3g}"


def _format_time(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)):
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _make_gauges(run: FinishedRun) -> list[dict[str, Any]]:
    report = run.report
    limits = report.budget or (None,) * len(report.units)
    amounts = [report.resources_before, report.resources_after, limits]
    found = [_make_gauge(*each) for each in zip(report.units, *amounts, strict=True)]
    for each in report.timing:
        if each.before_ns is not None:
            name = f"{each.name}, ns ({each.before:,.0f} → {each.cycles:,.0f} cycles)"
            kept = each.verdict is not Verdict.DOES_NOT_FIT
            found.append(_make_gauge(name, each.before_ns, each.ns, each.deadline_ns, kept))
    return found


def _make_gauge(
    unit: str, before: float, after: float, limit: float | None, fits: bool | None = None
) -> dict[str, Any]:
    top = max(before, after, limit or 0) or 1
    return {
        "unit": unit,
        "before": before,
        "after": after,
        "limit": limit,
        "share": after / top,
        "mark": None if limit is None else limit / top,
        "saved": 1 - after / before if before else 0.0,
        "fits": (limit is None or after <= limit) if fits is None else fits,
    }


def _make_layer(layer: LayerReport, units: tuple[str, ...]) -> dict[str, Any]:
    bars = []
    for unit, before, after in zip(
        units, layer.resources_before, layer.resources_after, strict=True
    ):
        top = max(before, after) or 1
        bars.append(
            {
                "unit": unit,
                "before": before,
                "after": after,
                "share": after / top,
            }
        )
    return {"layer": layer, "bars": bars}


def _make_map(name: str, codes: Any) -> dict[str, Any]:
    size = codes.size or 1
    return {
        "name": name,
        "rows": codes.shape[0],
        "columns": codes.shape[1],
        "image": draw_map(codes),
        "zero": float((codes == 1).sum()) / size,
        "shared": float((codes == 2).sum()) / size,
        "fixed": bool((codes == -1).all()),
    }


def _list_settings(run: FinishedRun) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in run.manifest.get("settings", {}).items()]
