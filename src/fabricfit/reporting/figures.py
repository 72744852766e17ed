"""Figures of a run, drawn with Matplotlib: for a page, a paper or a slide."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fabricfit.errors import require
from fabricfit.reporting.report import OptimizationReport

__all__ = ["FIGURES", "front", "groups", "layers", "map_image", "sweep_front", "themed_svg"]

_INK = "#0b0c0d"
"""Stands for the page's own text color in figures that follow a theme."""
_ACCENTS = ("#2f7ed8", "#c2571a", "#2a9d6f", "#8a5cc2")
_WEIGHTS = {-1: "#c9ccd1", 0: "#2f7ed8", 1: "#f1f3f5", 2: "#e8a33d"}
_LARGEST = 256
"""Most rows or columns of a map that are drawn."""


def _figure(width: float, height: float) -> Any:
    figure = require("matplotlib.figure", "report", "drawing figures").Figure
    return figure(figsize=(width, height), layout="constrained")


def front(report: OptimizationReport) -> Any:
    """Draw the validation metric against each resource, over the levels of a run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    ticker = require("matplotlib.ticker", "report", "drawing figures")
    units = report.units
    across = min(len(units), 2)
    down = -(-len(units) // across)
    figure = _figure(4.6 * across, 3.1 * down)
    for index, unit in enumerate(units):
        axes = figure.add_subplot(down, across, index + 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        whole = report.resources_before[index]
        axes.scatter(
            [whole], [report.metric_before], marker="s", color=_INK, label="before", zorder=3
        )
        for accepted, label in ((True, "good level"), (False, "not good enough")):
            told = [
                x
                for x in report.levels
                if x.accepted == accepted and x.utilization and x.metric == x.metric
            ]
            if told:
                axes.plot(
                    [x.utilization[index] for x in told],
                    [x.metric for x in told],
                    "o-" if accepted else "x",
                    color=_ACCENTS[0] if accepted else _ACCENTS[1],
                    label=label,
                )
        axes.scatter(
            [report.resources_after[index]], [report.metric_after],
            marker="*", s=110, color=_ACCENTS[2], label="result", zorder=4,
        )  # fmt: skip
        if report.threshold is not None:
            axes.axhline(report.threshold, color=_ACCENTS[1], linewidth=1, linestyle=":")
        if report.budget is not None:
            axes.axvline(report.budget[index], color=_ACCENTS[2], linewidth=1, linestyle=":")
        axes.set_xlabel(unit)
        axes.set_ylabel(report.metric_name)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        if index == 0:
            axes.legend(frameon=False, fontsize="small")
    return figure


def layers(report: OptimizationReport) -> Any:
    """Draw what every layer takes of each resource, before and after.

    Returns
    -------
    matplotlib.figure.Figure
    """
    units, told = report.units, [x for x in report.layers if any(x.resources_before)]
    figure = _figure(4.2 * len(units), 0.9 + 0.36 * max(len(told), 1))
    places = np.arange(len(told))[::-1]
    for index, unit in enumerate(units):
        axes = figure.add_subplot(1, len(units), index + 1)
        axes.barh(
            places + 0.19,
            [x.resources_before[index] for x in told],
            0.36,
            color="#b5bac1",
            label="before",
        )
        axes.barh(
            places - 0.19,
            [x.resources_after[index] for x in told],
            0.36,
            color=_ACCENTS[0],
            label="after",
        )
        axes.set_yticks(places, [x.name for x in told] if index == 0 else [""] * len(told))
        axes.set_xlabel(unit)
        axes.grid(alpha=0.25, axis="x")
        if index == 0:
            axes.legend(frameon=False, fontsize="small")
    return figure


def groups(maps: Mapping[str, np.ndarray]) -> Any:
    """Draw what became of the weights of each kernel: kept, zero or shared.

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
    figure = _figure(3.6 * across, 2.6 * down)
    for number, (name, codes) in enumerate(maps.items(), 1):
        axes = figure.add_subplot(down, across, number)
        axes.imshow(_colors(codes), aspect="auto", interpolation="nearest")
        axes.set_title(name, fontsize="small")
        axes.set_xlabel("output")
        axes.set_ylabel("input")
    return figure


def sweep_front(points: Sequence[tuple[float, float, bool, bool]], metric: str) -> Any:
    """Draw what came of several budgets.

    Parameters
    ----------
    points
        Share of the resources that is left, metric, whether no other point is better in both, and whether it
        is the knee.
    metric
        Name of the metric.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _figure(5.2, 3.6)
    axes = figure.add_subplot()
    best = sorted(point[:2] for point in points if point[2])
    axes.plot(*zip(*best, strict=True) if best else ([], []), "-", color=_ACCENTS[0], linewidth=1)
    for on_front, is_knee, color, label in (
        (True, False, _ACCENTS[0], "front"),
        (True, True, _ACCENTS[2], "knee"),
        (False, False, "#9aa1ab", "others"),
    ):
        told = [point[:2] for point in points if point[2:] == (on_front, is_knee)]
        if told:
            axes.scatter(*zip(*told, strict=True), color=color, label=label, zorder=3)
    axes.set_xlabel("share of the resources that is left")
    axes.set_ylabel(metric)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    return figure


FIGURES: dict[str, Callable[[OptimizationReport, Mapping[str, np.ndarray]], Any]] = {
    "front": lambda report, maps: front(report),
    "layers": lambda report, maps: layers(report),
    "groups": lambda report, maps: groups(maps),
}
"""Name -> what draws it from a run's report and maps."""


def _colors(codes: np.ndarray) -> np.ndarray:
    """Return an image of a map, thinned where it is too large to be seen."""
    rows, columns = (np.linspace(0, n - 1, min(n, _LARGEST)).astype(int) for n in codes.shape)
    small = codes[np.ix_(rows, columns)]
    image = np.zeros((*small.shape, 3), np.uint8)
    for code, color in _WEIGHTS.items():
        image[small == code] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return image


def map_image(codes: np.ndarray) -> str:
    """Return a kernel's map as a data URL of a PNG, one pixel a weight."""
    image = require("matplotlib.image", "report", "drawing figures")
    held = io.BytesIO()
    image.imsave(held, _colors(codes), format="png")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def themed_svg(figure: Any) -> str:
    """Return a figure as SVG whose ink is the text color of the page it is in."""
    matplotlib = require("matplotlib", "report", "drawing figures")
    for axes in figure.axes:
        for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
            part.set_color(_INK)
        axes.tick_params(colors=_INK)
        for spine in axes.spines.values():
            spine.set_color(_INK)
        axes.set_facecolor("none")
        legend = axes.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set_color(_INK)
    figure.patch.set_alpha(0)
    held = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fabricfit"}):
        figure.savefig(held, format="svg", metadata={"Date": None})
    svg = held.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")
