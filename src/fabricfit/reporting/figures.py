"""Figures of a run, drawn with Matplotlib."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fabricfit.errors import require
from fabricfit.reporting.report import OptimizationReport

__all__ = [
    "FIGURES",
    "draw_alternatives",
    "draw_formats",
    "draw_front",
    "draw_groups",
    "draw_layers",
    "draw_map",
    "draw_sweep_front",
    "write_themed_svg",
]

_INK = "#0b0c0d"
"""Color of text and axes, replaced by the page's text color in figures that follow its theme."""
_ACCENTS = ("#2f7ed8", "#c2571a", "#2a9d6f", "#8a5cc2")
_WEIGHTS = {-1: "#c9ccd1", 0: "#2f7ed8", 1: "#f1f3f5", 2: "#e8a33d"}
_MAX_PIXELS = 256
"""Largest number of rows or columns of a map; larger maps are thinned."""


def _make_figure(width: float, height: float) -> Any:
    figure = require("matplotlib.figure", "report", "drawing figures").Figure
    return figure(figsize=(width, height), layout="constrained")


def draw_front(report: OptimizationReport) -> Any:
    """Draw the validation metric against each resource, over the levels of a run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    ticker = require("matplotlib.ticker", "report", "drawing figures")
    units = report.units
    across = min(len(units), 2)
    down = -(-len(units) // across)
    figure = _make_figure(4.6 * across, 3.1 * down)
    for index, unit in enumerate(units):
        axes = figure.add_subplot(down, across, index + 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        whole = report.resources_before[index]
        axes.scatter(
            [whole], [report.metric_before], marker="s", color=_INK, label="before", zorder=3
        )
        for accepted, label in ((True, "accepted level"), (False, "rejected level")):
            chosen = [
                x
                for x in report.levels
                if x.accepted == accepted and x.utilization and x.metric == x.metric
            ]
            if chosen:
                axes.plot(
                    [x.utilization[index] for x in chosen],
                    [x.metric for x in chosen],
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


def draw_alternatives(report: OptimizationReport) -> Any:
    """Draw the metric of the designs that were tried against the budget that they use, and their latency.

    Returns
    -------
    matplotlib.figure.Figure
    """
    limits = report.budget or report.resources_before
    tried = [
        each
        for each in report.alternatives
        if each.resources and each.metric == each.metric and each.largest_share(limits) < math.inf
    ]
    figure = _make_figure(9.2, 3.3)
    panels = {
        "largest share of the budget, %": [100 * each.largest_share(limits) for each in tried],
        "latency, ns": [each.latency_ns for each in tried],
    }
    for place, (label, values) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, 2, place)
        for number, (each, value) in enumerate(zip(tried, values, strict=True)):
            color = _ACCENTS[2] if each.is_chosen else _ACCENTS[number % 2]
            axes.scatter(
                [value], [each.metric],
                marker="*" if each.is_chosen else "o", s=110 if each.is_chosen else 40,
                facecolors=color if each.epochs == 1 else "none", edgecolors=color, zorder=3,
            )  # fmt: skip
            axes.annotate(
                str(number + 1), (value, each.metric), (6, 4), textcoords="offset points",
                color=_INK, fontsize="small",
            )  # fmt: skip
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        axes.set_ylabel(report.metric_name)
        axes.grid(alpha=0.25)
    return figure


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
            color=_ACCENTS[0],
            label="after",
        )
        axes.set_yticks(places, [x.name for x in using] if index == 0 else [""] * len(using))
        axes.set_xlabel(unit)
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
        axes.set_title(name, fontsize="small")
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
        axes = figure.add_subplot(down, across, number)
        bits, counts = zip(*layer.weights, strict=True)
        axes.bar(bits, counts, color=[_ACCENTS[0] if each else "#b5bac1" for each in bits])
        axes.set_xticks(range(max(bits) + 1))
        axes.set_title(layer.name, fontsize="small")
        axes.set_xlabel("bits of a weight", fontsize="small")
        axes.grid(alpha=0.25, axis="y")
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
    axes.plot(*zip(*best, strict=True) if best else ([], []), "-", color=_ACCENTS[0], linewidth=1)
    for on_front, is_knee, color, label in (
        (True, False, _ACCENTS[0], "Pareto front"),
        (True, True, _ACCENTS[2], "knee"),
        (False, False, "#9aa1ab", "others"),
    ):
        chosen = [point[:2] for point in points if point[2:] == (on_front, is_knee)]
        if chosen:
            axes.scatter(*zip(*chosen, strict=True), color=color, label=label, zorder=3)
    axes.set_xlabel("fraction of the resources that is still used")
    axes.set_ylabel(metric)
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


def _color_map(codes: np.ndarray) -> np.ndarray:
    """Return a map as an RGB image, thinned where it is large."""
    rows, columns = (np.linspace(0, n - 1, min(n, _MAX_PIXELS)).astype(int) for n in codes.shape)
    small = codes[np.ix_(rows, columns)]
    image = np.zeros((*small.shape, 3), np.uint8)
    for code, color in _WEIGHTS.items():
        image[small == code] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return image


def draw_map(codes: np.ndarray) -> str:
    """Return a kernel's map as a data URL of a PNG, one pixel a weight."""
    image = require("matplotlib.image", "report", "drawing figures")
    held = io.BytesIO()
    image.imsave(held, _color_map(codes), format="png")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def write_themed_svg(figure: Any) -> str:
    """Return a figure as SVG with text and axes in the text color of the page around it."""
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
