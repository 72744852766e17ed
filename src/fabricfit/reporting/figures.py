"""Figures of a run, drawn with Matplotlib."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, require
from fabricfit.reporting.alternatives import Alternative
from fabricfit.reporting.panels import (
    ACCENTS,
    INK,
    draw_designs,
    draw_levels,
    draw_widths,
    plain,
    show_titles,
)
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run.files import write_file

__all__ = [
    "DESIGN_AXES",
    "FIGURES",
    "draw_alternatives",
    "draw_formats",
    "draw_front",
    "draw_groups",
    "draw_layers",
    "draw_map",
    "draw_panel",
    "draw_sweep_front",
    "list_tried",
    "write_figure",
    "write_themed_svg",
]

_WIDTH, _HEIGHT = 4.6, 3.1
"""Inches of a panel."""
_WEIGHTS = {-1: "#c9ccd1", 0: "#2f7ed8", 1: "#f1f3f5", 2: "#e8a33d"}
_MAX_PIXELS = 256
"""Largest number of rows or columns of a map; pixels of larger ones have mean colors."""


def _make_figure(width: float, height: float) -> Any:
    figure = require("matplotlib.figure", "report", "drawing figures").Figure
    return figure(figsize=(width, height), layout="constrained")


def draw_front(report: OptimizationReport) -> Any:
    """Draw the validation metric against each resource, over the levels of a run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    units = report.units
    across = min(len(units), 2)
    down = -(-len(units) // across)
    figure = _make_figure(_WIDTH * across, _HEIGHT * down)
    for index in range(len(units)):
        axes = figure.add_subplot(down, across, index + 1)
        draw_levels(axes, report, index)
        _format_axis(axes)
        if index == 0:
            axes.legend(frameon=False, fontsize="small")
    return figure


def draw_alternatives(report: OptimizationReport) -> Any:
    """Draw the metric of the designs that were tried against the budget that they use, and their latency.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _make_figure(2 * _WIDTH, _HEIGHT)
    designs, shares, latencies = list_tried(report.alternatives, report)
    for place, (label, values) in enumerate(zip(DESIGN_AXES, (shares, latencies), strict=True), 1):
        axes = figure.add_subplot(1, 2, place)
        draw_designs(axes, designs, values, (label, report.metric_name))
        _format_axis(axes)
    return figure


DESIGN_AXES = ("largest share of the budget, %", "latency, ns")
"""What the metric of designs is drawn against."""


def list_tried(
    alternatives: Sequence[Alternative], report: OptimizationReport
) -> tuple[list[Alternative], list[float], list[float]]:
    """Return the designs that have a metric, the largest share of the budget of each, and its latency."""
    limits = report.budget or report.resources_before
    tried = [
        each
        for each in alternatives
        if each.resources and each.metric == each.metric and each.largest_share(limits) < math.inf
    ]
    shares = [100 * each.largest_share(limits) for each in tried]
    return tried, shares, [each.latency_ns for each in tried]


def draw_panel(draw: Callable[[Any], None], width: float = _WIDTH, legend: bool = False) -> str:
    """Return a figure of one panel as SVG in the colors of the page around it.

    Parameters
    ----------
    draw
        Draws into Matplotlib's axes.
    width
        Inches.
    legend
        Whether a legend is added.
    """
    figure = _make_figure(width, _HEIGHT if width == _WIDTH else 2.1)
    axes = figure.add_subplot()
    draw(axes)
    _format_axis(axes)
    if legend:
        axes.legend(frameon=False, fontsize="small")
    return write_themed_svg(figure)


def _format_axis(axes: Any) -> None:
    """Write thousands with commas where numbers of resources are across."""
    ticker = require("matplotlib.ticker", "report", "drawing figures")
    low, high = axes.get_xlim()
    if axes.get_xscale() == "linear" and high - low > 20:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))


def draw_layers(report: OptimizationReport) -> Any:
    """Draw the resources that every layer uses, before and after.

    Returns
    -------
    matplotlib.figure.Figure
    """
    units, using = report.units, [x for x in report.layers if any(x.resources_before)]
    figure = _make_figure(4.2 * len(units), 0.9 + 0.36 * max(len(using), 1))
    places = np.arange(len(using))[::-1]
    for index, unit in enumerate(units):
        axes = figure.add_subplot(1, len(units), index + 1)
        axes.barh(
            places + 0.19,
            [x.resources_before[index] for x in using],
            0.36,
            color="#b5bac1",
            label="before",
        )
        axes.barh(
            places - 0.19,
            [x.resources_after[index] for x in using],
            0.36,
            color=ACCENTS[0],
            label="after",
        )
        axes.set_yticks(places, [plain(x.name) for x in using] if index == 0 else [""] * len(using))
        axes.set_xlabel(plain(unit))
        axes.grid(alpha=0.25, axis="x")
        if index == 0:
            axes.legend(frameon=False, fontsize="small")
    return figure


def draw_groups(maps: Mapping[str, np.ndarray]) -> Any:
    """Draw the treatment of the weights of each kernel: kept, zeroed or shared.

    Parameters
    ----------
    maps
        Kernel -> codes, see :func:`fabricfit.optimization.savings.weight_maps`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    count = max(len(maps), 1)
    across = min(count, 3)
    down = -(-count // across)
    figure = _make_figure(3.6 * across, 2.6 * down)
    for number, (name, codes) in enumerate(maps.items(), 1):
        axes = figure.add_subplot(down, across, number)
        axes.imshow(_color_map(codes), aspect="auto", interpolation="nearest")
        axes.set_title(plain(name), fontsize="small")
        axes.set_xlabel("output")
        axes.set_ylabel("input")
    return figure


def draw_formats(report: OptimizationReport) -> Any:
    """Draw how many weights of each layer have how many bits, where precision was trained.

    Returns
    -------
    matplotlib.figure.Figure
    """
    layers = report.formats
    across = min(max(len(layers), 1), 4)
    down = max(-(-len(layers) // across), 1)
    figure = _make_figure(2.6 * across, 2.1 * down)
    for number, layer in enumerate(layers, 1):
        draw_widths(figure.add_subplot(down, across, number), layer)
    return figure


def draw_sweep_front(points: Sequence[tuple[float, float, bool, bool]], metric: str) -> Any:
    """Draw the Pareto front of several budgets.

    Parameters
    ----------
    points
        Fraction of the resources that is still used, metric, whether the point is on the Pareto front, and
        whether it is the knee.
    metric
        Name of the metric.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _make_figure(5.2, 3.6)
    axes = figure.add_subplot()
    best = sorted(point[:2] for point in points if point[2])
    axes.plot(*zip(*best, strict=True) if best else ([], []), "-", color=ACCENTS[0], linewidth=1)
    for on_front, is_knee, color, label in (
        (True, False, ACCENTS[0], "Pareto front"),
        (True, True, ACCENTS[2], "knee"),
        (False, False, "#9aa1ab", "others"),
    ):
        chosen = [point[:2] for point in points if point[2:] == (on_front, is_knee)]
        if chosen:
            axes.scatter(*zip(*chosen, strict=True), color=color, label=label, zorder=3)
    axes.set_xlabel("fraction of the resources that is still used")
    axes.set_ylabel(plain(metric))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    return figure


FIGURES: dict[str, Callable[[OptimizationReport, Mapping[str, np.ndarray]], Any]] = {
    "alternatives": lambda report, maps: draw_alternatives(report),
    "front": lambda report, maps: draw_front(report),
    "layers": lambda report, maps: draw_layers(report),
    "groups": lambda report, maps: draw_groups(maps),
}
"""Name of a figure -> function that draws it from a run's report and maps."""


def _color_map(codes: np.ndarray, most: int = _MAX_PIXELS) -> np.ndarray:
    """Return a map as an RGB image, of mean colors where it is large."""
    image: Any = 0
    for code, color in _WEIGHTS.items():
        share: np.ndarray = codes == code
        for axis, size in enumerate(codes.shape):
            if size > most:
                starts = np.linspace(0, size, most, endpoint=False).astype(int)
                counts = np.diff(np.append(starts, size)).astype(np.float32)
                summed = np.add.reduceat(share, starts, axis=axis, dtype=np.float32)
                share = summed / (counts[:, None] if axis == 0 else counts)
        image = image + share[..., None] * [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    found: np.ndarray = np.rint(image).astype(np.uint8)
    return found


def draw_map(codes: np.ndarray, most: int = _MAX_PIXELS) -> str:
    """Return a kernel's map as a data URL of a PNG, one pixel a weight.

    Parameters
    ----------
    codes
        The treatment of each weight.
    most
        Rows and columns of pixels at most: where there are more weights, pixels have their mean color.
    """
    images = require("PIL.Image", "report", "drawing figures")
    picture = images.fromarray(_color_map(codes, most)).quantize(64)
    held = io.BytesIO()
    picture.save(held, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def write_figure(figure: Any, path: Path) -> Path:
    """Write a figure into a file of the kind that its name ends in, such as ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    InvalidInputError
        There are no figures of that kind.
    RunDirectoryError
        The file cannot be written.
    """
    known, kind = figure.canvas.get_supported_filetypes(), path.suffix[1:].lower()
    if kind not in known:
        raise InvalidInputError(
            f"the name of a figure must end in one of {', '.join(f'.{each}' for each in known)}. "
            f"Received: path={str(path)!r}"
        )
    return write_file(path, lambda file: figure.savefig(file, format=kind, dpi=160))


def write_themed_svg(figure: Any) -> str:
    """Return a figure as SVG with text and axes in the text color of the page around it."""
    matplotlib = require("matplotlib", "report", "drawing figures")
    for axes in figure.axes:
        for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
            part.set_color(INK)
        axes.tick_params(colors=INK)
        for spine in axes.spines.values():
            spine.set_color(INK)
        axes.set_facecolor("none")
        legend = axes.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set_color(INK)
    figure.patch.set_alpha(0)
    held = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fabricfit"}):
        figure.savefig(held, format="svg", metadata={"Date": None})
    svg = held.getvalue()
    return show_titles(svg[svg.index("<svg") :]).replace(INK, "currentColor")
