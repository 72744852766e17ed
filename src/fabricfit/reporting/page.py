"""One self-contained page of a run: it needs no network, prints, and follows light and dark."""

from __future__ import annotations

import datetime
import json
from importlib import resources
from pathlib import Path
from typing import Any

from fabricfit._version import __version__
from fabricfit.errors import require
from fabricfit.reporting.figures import front, map_image, themed_svg
from fabricfit.reporting.report import LayerReport
from fabricfit.reporting.run_folder import Story
from fabricfit.run.files import PAGE, RunDirectory

__all__ = ["read_run", "render_page", "write_page"]


def read_run(directory: Path) -> Story:
    """Return what the folder of a finished run tells: see :meth:`Story.of`."""
    return Story.of(Path(directory))


def write_page(story: Story, path: Path | None = None) -> Path:
    """Write a run's page.

    Parameters
    ----------
    story
        The run.
    path
        The file; ``report.html`` in the run's folder by default.
    """
    target = Path(path) if path is not None else story.directory / PAGE
    text = render_page(story)
    folder = RunDirectory.existing(target.absolute().parent)
    return folder.write(target.name, lambda part: part.write_text(text, encoding="utf-8"))


def render_page(story: Story) -> str:
    """Return a run's page as HTML.

    Raises
    ------
    MissingExtraError
        Jinja2 or Matplotlib is not installed (extra ``report``).
    """
    jinja2 = require("jinja2", "report", "writing a report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    source = resources.files("fabricfit.reporting") / "page.html.j2"
    report = story.report
    text: str = environment.from_string(source.read_text(encoding="utf-8")).render(
        report=report,
        title=_title(story),
        story=story,
        manifest=story.manifest,
        gauges=_gauges(story),
        layers=[_layer(each, report.units) for each in report.layers],
        front=themed_svg(front(report)),
        maps=[_map(name, codes) for name, codes in story.maps.items()],
        hls_config=None if story.hls_config is None else json.dumps(story.hls_config, indent=2),
        settings=_settings(story),
        when=_when(story.manifest.get("begun")),
        version=__version__,
        seconds=story.status.now - story.status.begun,
    )
    return text


def _title(story: Story) -> str:
    report = story.report
    goal = f"fewer {', '.join(report.units)}"
    if report.budget is not None:
        limits = zip(report.units, report.budget, strict=True)
        named = story.manifest["goal"].get("budget")
        goal = named or ", ".join(f"{limit:,.0f} {unit}" for unit, limit in limits)
    return f"{story.manifest.get('model', 'A model')} for {goal}"


def _number(value: Any) -> str:
    return f"{value:,.0f}" if float(value) == int(value) or abs(value) >= 100 else f"{value:,.3g}"


def _when(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)):
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _gauges(story: Story) -> list[dict[str, Any]]:
    report = story.report
    found = []
    for index, unit in enumerate(report.units):
        before, after = report.resources_before[index], report.resources_after[index]
        limit = None if report.budget is None else report.budget[index]
        top = max(before, after, limit or 0) or 1
        found.append(
            {
                "unit": unit,
                "before": before,
                "after": after,
                "limit": limit,
                "share": after / top,
                "mark": None if limit is None else limit / top,
                "saved": 1 - after / before if before else 0.0,
                "fits": limit is None or after <= limit,
            }
        )
    return found


def _layer(layer: LayerReport, units: tuple[str, ...]) -> dict[str, Any]:
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


def _map(name: str, codes: Any) -> dict[str, Any]:
    size = codes.size or 1
    return {
        "name": name,
        "rows": codes.shape[0],
        "columns": codes.shape[1],
        "image": map_image(codes),
        "zero": float((codes == 1).sum()) / size,
        "shared": float((codes == 2).sum()) / size,
        "fixed": bool((codes == -1).all()),
    }


def _settings(story: Story) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in story.manifest.get("settings", {}).items()]
