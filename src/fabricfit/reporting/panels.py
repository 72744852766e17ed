"""Single panels of figures, drawn into Matplotlib's axes, with texts for who points at their marks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fabricfit.reporting.alternatives import Alternative
from fabricfit.reporting.layer_formats import LayerFormats
from fabricfit.reporting.performance import OutputPerformance
from fabricfit.reporting.report import OptimizationReport
from fabricfit.reporting.summary import spell_metric
from fabricfit.tables import show_controls

__all__ = [
    "ACCENTS",
    "INK",
    "draw_curves",
    "draw_designs",
    "draw_levels",
    "draw_residuals",
    "draw_widths",
    "plain",
    "show_titles",
]

INK = "#0b0c0d"
"""Color of text and axes, replaced by the page's text color in figures that follow its theme."""
ACCENTS = ("#2f7ed8", "#c2571a", "#2a9d6f", "#8a5cc2", "#b8860b", "#d14a8b", "#5f6b7a", "#17a2b8")
_TITLE, _BETWEEN = "fabricfit: ", "\u241f"
_LONGEST = 60
"""Characters of a name in a figure."""
_MOST_CURVES = 8
"""Classes whose ROC curves are drawn."""
_MOST_TICKS = 32
_LEAST_SHARE = 1e-3
"""The smallest share of others that ROC curves show."""


def plain(text: str) -> str:
    """Return a text as Matplotlib shows it as it is: without mathematics, in one line, and not too long."""
    shown = show_controls(text)
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST - 1]}…"
    if shown.startswith("_"):
        shown = f" {shown}"  # legends leave out what begins so
    return shown.replace("$", r"\$")


def _explain(artist: Any, *texts: str) -> None:
    """Let a mark, or each marker of a line, tell something to who points at it."""
    shown = (show_controls(each).replace(_BETWEEN, " ") for each in texts)
    artist.set_gid(_TITLE + _BETWEEN.join(shown))


def show_titles(svg: str) -> str:
    """Return an SVG whose marks have their texts as titles, and no names of Matplotlib's own."""

    def show(found: re.Match[str]) -> str:
        texts, body = found[1].split(_BETWEEN), found[2]
        if len(texts) == 1:
            return f'<g class="mark"><title>{texts[0]}</title>{body}'
        each = iter(texts)
        return "<g>" + re.sub(
            r"<use [^>]*/>",
            lambda use: f'<g class="mark"><title>{next(each, "")}</title>{use[0]}</g>',
            body,
        )

    found = re.sub(rf'<g id="{_TITLE}([^"]*)">(.*?)(?=<g id="|\Z)', show, svg, flags=re.DOTALL)
    return re.sub(r'<g id="[^"]*">', "<g>", found)


def draw_levels(axes: Any, report: OptimizationReport, index: int) -> None:
    """Draw the validation metric against a resource, over the levels of a run.

    Parameters
    ----------
    axes
        Matplotlib's axes.
    report
        The run's report.
    index
        Place of the resource.
    """
    unit, name = report.units[index], report.metric_name
    errors = report.metric_errors or (math.nan, math.nan)
    _draw_end(
        axes, report.resources_before[index], report.metric_before, errors[0],
        ("before", unit, name), {"fmt": "s", "color": INK},
    )  # fmt: skip
    for accepted, label in ((True, "accepted level"), (False, "rejected level")):
        chosen = [
            each
            for each in report.levels
            if each.accepted == accepted and each.utilization and each.metric == each.metric
        ]
        color = ACCENTS[0] if accepted else ACCENTS[1]
        texts = [
            f"{each.sparsity:.1%} saved, {each.utilization[index]:,.0f} {unit}, {name} {each.metric:.4g}; "
            f"{label}{f': {each.note}' if each.note else ''}"
            for each in chosen
        ]
        if chosen:
            (line,) = axes.plot(
                [each.utilization[index] for each in chosen], [each.metric for each in chosen],
                "o-" if accepted else "x", color=color, linewidth=1, markersize=5.5, label=label,
            )  # fmt: skip
            _explain(line, *texts)
    _draw_end(
        axes, report.resources_after[index], report.metric_after, errors[1],
        ("result", unit, name), {"fmt": "*", "color": ACCENTS[2], "markersize": 11},
    )  # fmt: skip
    if report.threshold is not None:
        axes.axhline(report.threshold, color=ACCENTS[1], linewidth=1, linestyle=":")
    if report.budget is not None:
        axes.axvline(report.budget[index], color=ACCENTS[2], linewidth=1, linestyle=":")
    _label(axes, unit, name)
    axes.set_xlim(0, 1.05 * axes.get_xlim()[1] or 1)


def _draw_end(
    axes: Any,
    used: float,
    metric: float,
    error: float,
    names: tuple[str, str, str],
    style: dict[str, Any],
) -> None:
    label, unit, name = names
    bar = [error] if math.isfinite(error) else None
    found = axes.errorbar([used], [metric], bar, label=label, capsize=3, zorder=4, **style)
    _explain(found.lines[0], f"{label}: {used:,.0f} {unit}, {name} {spell_metric(metric, error)}")


def draw_designs(
    axes: Any,
    designs: Sequence[Alternative],
    values: Sequence[float],
    names: tuple[str, str],
    chosen: int | None = None,
) -> None:
    """Draw the metric of designs against something that they use, with the errors of its differences.

    Parameters
    ----------
    axes
        Matplotlib's axes.
    designs
        The designs, those without a metric left out.
    values
        What each uses.
    names
        What that is, and the metric.
    chosen
        Place of the one that was chosen; by its outcome if None.
    """
    for number, (each, value) in enumerate(zip(designs, values, strict=True)):
        if not math.isfinite(value):
            continue
        is_chosen = each.is_chosen if chosen is None else number == chosen
        color = ACCENTS[2] if is_chosen else ACCENTS[number % 2]
        bar = [each.error] if math.isfinite(each.error) and each.error else None
        found = axes.errorbar(
            [value], [each.metric], bar, capsize=3, fmt="*" if is_chosen else "o",
            markersize=11 if is_chosen else 7, color=color,
            markerfacecolor=color if each.epochs == 1 else "none",
        )  # fmt: skip
        text = f"{each.name}: {names[0]} {value:,.4g}, {names[1]} {each.metric:.4g}; {each.outcome}"
        _explain(found.lines[0], text)
        axes.annotate(
            str(number + 1), (value, each.metric), (6, 4), textcoords="offset points",
            color=INK, fontsize="small",
        )  # fmt: skip
    _label(axes, *names)
    axes.set_xlim(0, 1.12 * max(filter(math.isfinite, values), default=1) or 1)
    axes.margins(y=0.12)


def draw_widths(axes: Any, layer: LayerFormats) -> None:
    """Draw how many weights of a layer have how many bits."""
    for width, count in layer.weights:
        (bar,) = axes.bar([width], [count], color=ACCENTS[0] if width else "#b5bac1")
        _explain(bar, f"{count:,} weights of {width} bits" if width else f"{count:,} zeros")
    widest = max((width for width, _ in layer.weights), default=0)
    axes.set_xticks(range(0, widest + 1, widest // _MOST_TICKS + 1))
    axes.set_title(plain(layer.name), fontsize="small")
    axes.set_xlabel("bits of a weight", fontsize="small")
    axes.grid(alpha=0.25, axis="y")


def draw_curves(axes: Any, output: OutputPerformance) -> None:
    """Draw ROC curves, of the classes with most samples: quantized as lines, floats dashed.

    Parameters
    ----------
    axes
        Matplotlib's axes.
    output
        What networks are worth at a classifying output.
    """
    order = sorted(range(len(output.labels)), key=lambda each: -output.counts[each])
    places = sorted(order[:_MOST_CURVES])
    networks = [("floats", output.in_floats, "--"), ("quantized", output.quantized, "-")]
    present = [each for each in networks if each[1] is not None]
    for which, network, line in present:
        classes = network.classes if network is not None else None
        assert classes is not None
        is_last = which == present[-1][0]
        for number, place in enumerate(places):
            if not classes.curves[place]:
                continue
            others, share = np.array(classes.curves[place]).T
            color, area = ACCENTS[number % len(ACCENTS)], classes.areas[place]
            told = f"{output.labels[place]}, {which}: AUC {spell_metric(area.value, area.error)}"
            (curve,) = axes.plot(
                share, np.maximum(others, _LEAST_SHARE / 2), line, color=color,
                linewidth=1.4 if is_last else 0.9,
                label=plain(output.labels[place]) if is_last else None,
            )  # fmt: skip
            _explain(curve, told)
            if is_last:
                at = np.unique(np.searchsorted(share, np.linspace(0.05, 0.95, 19)))
                kept = zip(share[at], others[at], strict=True)
                texts = [f"{told}; {x:.1%} of it kept with {y:.2%} of others" for x, y in kept]
                heights = np.maximum(others[at], _LEAST_SHARE / 2)
                (marks,) = axes.plot(share[at], heights, "o", markersize=7, color=color, alpha=0.0)
                _explain(marks, *texts)
    axes.set_yscale("log")
    axes.set_ylim(_LEAST_SHARE, 1)
    axes.set_xlim(0, 1)
    _label(axes, "share of the class that is kept", "share of all others that is kept")
    axes.legend(frameon=False, fontsize="small", loc="upper left")


def draw_residuals(axes: Any, output: OutputPerformance, place: int) -> None:
    """Draw the histogram of a number's residuals: floats as an outline, quantized filled.

    Parameters
    ----------
    axes
        Matplotlib's axes.
    output
        What networks are worth at an output that predicts numbers.
    place
        Which of the numbers.
    """
    edges = np.array(output.edges[place])
    networks = [("quantized", output.quantized, True), ("floats", output.in_floats, False)]
    for which, network, filled in networks:
        if network is None:
            continue
        found = network.residuals[place]
        bars = axes.stairs(
            found.counts, edges, fill=filled, color=ACCENTS[0] if filled else ACCENTS[1],
            alpha=0.55 if filled else 1.0, label=which,
        )  # fmt: skip
        bias, deviation = (spell_metric(x.value, x.error) for x in (found.bias, found.deviation))
        _explain(bars, f"{which}: bias {bias}, root of the mean square {deviation}")
    _label(axes, f"{output.labels[place]}: predicted less wanted", "samples")
    axes.legend(frameon=False, fontsize="small")


def _label(axes: Any, across: str, up: str) -> None:
    axes.set_xlabel(plain(across))
    axes.set_ylabel(plain(up))
    axes.grid(alpha=0.25)
