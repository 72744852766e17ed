"""Report of a run as one web page without external files, for light and dark themes and for print."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from fabricfit._version import __version__
from fabricfit.description.quantities import spell_time
from fabricfit.errors import require
from fabricfit.reporting.alternatives import Alternative
from fabricfit.reporting.figures import DESIGN_AXES, draw_map, draw_panel, list_tried
from fabricfit.reporting.finished_run import FinishedRun
from fabricfit.reporting.page_parts import (
    format_number,
    list_facts,
    make_confusion,
    make_gauges,
    make_layers,
    make_verdict,
    tabulate_output,
)
from fabricfit.reporting.panels import (
    draw_curves,
    draw_designs,
    draw_levels,
    draw_residuals,
    draw_widths,
)
from fabricfit.reporting.performance import Performance
from fabricfit.reporting.report import OptimizationReport
from fabricfit.reporting.summary import spell_metric
from fabricfit.run.files import PAGE, write_file
from fabricfit.tables import show_lines

_PIXELS = 600_000
"""Pixels of all maps of weights together, at most."""
_LARGEST_MAP = 256
"""Rows and columns of pixels of a map, at most."""
_MOST_RESIDUALS = 8
"""Numbers whose residuals are drawn."""
_MOST_LAYERS = 24
"""Layers whose bit widths are drawn."""

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
    return write_file(target.absolute(), text)


def render_page(run: FinishedRun) -> str:
    """Return the report of a run as HTML.

    Raises
    ------
    MissingExtraError
        Jinja2 or Matplotlib is not installed (extra ``report``).
    """
    jinja2 = require("jinja2", "report", "writing a report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _show_text
    environment.filters["number"] = format_number
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    environment.filters["measured"] = lambda each: spell_metric(each.value, each.error)
    environment.globals["spell_metric"] = spell_metric
    report = run.report
    text: str = environment.from_string(_read_part("page.html.j2")).render(
        style=_read_part("page.css"),
        script=_read_part("page.js"),
        report=report,
        title=_title_page(run),
        run=run,
        manifest=run.manifest,
        verdict=make_verdict(report),
        facts=list_facts(report),
        gauges=make_gauges(run),
        errors=report.metric_errors or (float("nan"), float("nan")),
        layers=make_layers(report),
        front=_draw_front(report),
        alternatives=_draw_designs(report.alternatives, report),
        simple=() if run.simple is None else _draw_designs(run.simple.designs, report, 0),
        formats=[
            draw_panel(partial(draw_widths, layer=layer), width=2.6)
            for layer in report.formats[:_MOST_LAYERS]
        ],
        performance=_draw_performance(run.performance),
        maps=_make_maps(run),
        hls_config=None if run.hls_config is None else json.dumps(run.hls_config, indent=2),
        settings=_list_settings(run),
        when=_format_time(run.manifest.get("begun")),
        version=__version__,
        seconds=run.status.now - run.status.begun,
    )
    return text


def _show_text(value: Any) -> Any:
    """Return a text with its control characters written out, ends of lines apart; anything else as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return show_lines(value)


def _read_part(name: str) -> str:
    return (resources.files("fabricfit.reporting") / name).read_text(encoding="utf-8")


def _draw_front(report: OptimizationReport) -> list[str]:
    """Return a figure for each resource."""
    return [
        draw_panel(partial(draw_levels, report=report, index=index), legend=index == 0)
        for index in range(len(report.units))
    ]


def _draw_designs(
    designs: Sequence[Alternative], report: OptimizationReport, chosen: int | None = None
) -> list[str]:
    """Return the figures of designs; none where there was no choice."""
    if len(designs) < 2:
        return []
    tried, *columns = list_tried(designs, report)
    if not tried:
        return []
    panels = []
    for label, values in zip(DESIGN_AXES, columns, strict=True):
        names = (label, report.metric_name)
        draw = partial(draw_designs, designs=tried, values=values, names=names, chosen=chosen)
        panels.append(draw_panel(draw))
    return panels


def _draw_performance(found: Performance | None) -> dict[str, Any] | None:
    """Return what the page shows of the test data."""
    if found is None:
        return None
    outputs = []
    for output in found.outputs:
        if output.counts:
            draws = [partial(draw_curves, output=output)]
        else:
            places = range(min(len(output.labels), _MOST_RESIDUALS))
            draws = [partial(draw_residuals, output=output, place=place) for place in places]
        figures = [draw_panel(draw) for draw in draws]
        tables = {"table": tabulate_output(output), "confusion": make_confusion(output)}
        outputs.append({"output": output, "figures": figures, **tables})
    return {"found": found, "outputs": outputs}


def _make_maps(run: FinishedRun) -> list[dict[str, Any]]:
    """Return the maps of weights, the coarser the more there are."""
    most = int(min(_LARGEST_MAP, max((_PIXELS / max(len(run.maps), 1)) ** 0.5, 16)))
    return [_make_map(name, codes, most) for name, codes in run.maps.items()]


def _make_map(name: str, codes: Any, most: int) -> dict[str, Any]:
    size = codes.size or 1
    return {
        "name": name,
        "rows": codes.shape[0],
        "columns": codes.shape[1],
        "image": draw_map(codes, most),
        "zero": float((codes == 1).sum()) / size,
        "shared": float((codes == 2).sum()) / size,
        "fixed": bool((codes == -1).all()),
        "coarse": max(codes.shape) > most,
    }


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


def _format_time(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)):
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _list_settings(run: FinishedRun) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in run.manifest.get("settings", {}).items()]
