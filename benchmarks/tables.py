"""Tables, numbers as text, and the report of a part of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.harness import Contest, Spread

__all__ = [
    "Headline",
    "Report",
    "contest_table",
    "megabytes",
    "new_table",
    "percent",
    "ratio",
    "seconds",
]

NOTHING = "–"
FAILED = "failed"


@dataclass(frozen=True)
class Headline:
    """A ratio that sums up a part.

    Parameters
    ----------
    part, workload
        Where it comes from.
    what
        What is divided by what.
    value
        The ratio; None if one side failed.
    """

    part: str
    workload: str
    what: str
    value: Spread | None


@dataclass
class Report:
    """What a part found; with failures, in sentences, the command's exit code is 1."""

    tables: list[Table] = field(default_factory=list)
    headlines: list[Headline] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def new_table(title: str, columns: Sequence[str], caption: str = "", texts: int = 1) -> Table:
    """Return an empty table whose first columns are texts and all others numbers."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for number, column in enumerate(columns):
        if number < texts:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right")
    return table


def contest_table(
    contest: Contest, title: str, ours: Sequence[str], rivals: Sequence[str]
) -> Table:
    """Return times, memory and, for each rival, the ratio of its times to ours.

    Parameters
    ----------
    contest
        The measurements.
    title
        Of the table.
    ours, rivals
        Names of contestants, as far as they took part.
    """
    shown = [name for name in rivals if name in contest.names]
    extra = [f"{name} ÷ this, {kind}" for name in shown for kind in ("wall", "CPU")]
    columns = ["", "wall", "CPU", "CPU with imports", "peak", *extra]
    errors = [f"{name}: {contest.error(name)}" for name in contest.names if contest.error(name)]
    table = new_table(title, columns, "\n".join(errors))
    for name in contest.names:
        if contest.error(name):
            table.add_row(name, FAILED)
            continue
        cells = [
            seconds(contest.spread(name, "wall")),
            seconds(contest.spread(name, "cpu")),
            seconds(contest.spread(name, "total_cpu")),
            megabytes(contest.spread(name, "peak_mb")),
        ]
        for rival in shown if name in ours else ():
            cells += [ratio(contest.ratio(rival, name, key)) for key in ("wall", "cpu")]
        table.add_row(name, *cells)
    return table


def seconds(value: Spread | float | None) -> str:
    """Return seconds with three digits; of a spread, its median."""
    if isinstance(value, Spread):
        value = value.median
    if value is None or value != value:
        return NOTHING
    if value < 0.9995e-3:
        return f"{value * 1e6:.3g} µs"
    if value < 0.9995:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 999.5 else f"{value:,.0f} s"


def megabytes(value: Spread | float | None) -> str:
    """Return megabytes; of a spread, its median."""
    if isinstance(value, Spread):
        value = value.median
    return NOTHING if value is None or value != value else f"{value:,.0f} MB"


def percent(values: Sequence[float]) -> str:
    """Return fractions as percentages side by side."""
    return " / ".join(f"{value * 100:.2f}" for value in values) or NOTHING


def ratio(value: Spread | None) -> str:
    """Return a ratio, with its least and largest value if they differ."""
    if value is None:
        return NOTHING
    text = f"{_format_digits(value.median)}x"
    if value.low == value.high:
        return text
    return f"{text} ({_format_digits(value.low)}..{_format_digits(value.high)})"


def _format_digits(value: float) -> str:
    if value < 0.0995:
        return f"{value:.2g}"
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
