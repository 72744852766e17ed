"""Progress of a run: a live view on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fabricfit.run.journal import Record
from fabricfit.run.status import Status
from fabricfit.tables import TextTable, show_controls, show_lines

__all__ = ["draw_status", "entitle_runs", "render_html", "show_messages", "show_progress"]

Observer = Callable[[Record], None]

_TITLE: ContextVar[str] = ContextVar("title", default="fabricfit")
"""What stands above the view of a run."""

_REFRESH_SECONDS = 0.5


@contextmanager
def entitle_runs(text: str) -> Iterator[None]:
    """Say above the views of the runs inside the block which of several they are."""
    token = _TITLE.set(text)
    try:
        yield
    finally:
        _TITLE.reset(token)


@contextmanager
def show_progress(logger: logging.Logger | None, console: Any = None) -> Iterator[Observer]:
    """Show a run inside the block; yield the observer of its events.

    Parameters
    ----------
    logger
        The library's logger, whose messages are shown from INFO on and which is left as it was; None to
        show nothing.
    console
        A Rich console; by default one on the standard error stream.
    """
    if logger is None:
        yield lambda record: None
        return
    console = console or Console(stderr=True)
    if console.is_jupyter:
        with _show_in_notebook(logger) as observer:
            yield observer
        return
    if console.is_terminal:
        with _show_live(logger, console) as observer:
            yield observer
        return
    with show_messages(logger):
        yield lambda record: None


@contextmanager
def show_messages(logger: logging.Logger) -> Iterator[None]:
    """Show a logger's messages inside the block, from INFO on, as lines on the standard error stream."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    with _show_messages(logger, handler, logging.INFO):
        yield


class _Plain(logging.Formatter):
    """Writes control characters in messages out: names of layers may hold them."""

    def format(self, record: logging.LogRecord) -> str:
        return show_lines(super().format(record))


@contextmanager
def _show_live(logger: logging.Logger, console: Any) -> Iterator[Observer]:
    status, title = Status(), _TITLE.get()

    class View:
        """Rendered at every refresh, so that the elapsed time is current."""

        def __rich__(self) -> Any:
            return draw_status(status, time.time(), title)

    with Live(View(), console=console, refresh_per_second=4) as live:
        handler = RichHandler(console=live.console, show_path=False, markup=False)
        handler.setFormatter(_Plain("%(message)s"))

        def observe(record: Record) -> None:
            status.apply(record)
            if record.event in ("settled", "finished"):
                live.refresh()

        # The view shows what INFO would say: only warnings are printed.
        with _show_messages(logger, handler, logging.WARNING):
            yield observe


@contextmanager
def _show_in_notebook(logger: logging.Logger) -> Iterator[Observer]:
    """Show a run below a notebook's cell, without widgets: one display, written anew by events."""
    from IPython.display import HTML, display

    status, title = Status(), _TITLE.get()
    shown = display(HTML(""), display_id=True)
    said = 0.0

    def show() -> None:
        shown.update(HTML(render_html(draw_status(status, time.time(), title))))

    def observe(record: Record) -> None:
        nonlocal said
        status.apply(record)
        if record.event in ("settled", "finished") or time.monotonic() - said > _REFRESH_SECONDS:
            said = time.monotonic()
            show()

    try:
        with _show_messages(logger, logging.StreamHandler(), logging.WARNING):
            yield observe
    finally:
        show()


def render_html(renderable: Any, width: int = 100) -> str:
    """Return anything that Rich renders as preformatted HTML.

    Parameters
    ----------
    renderable
        What is to be shown.
    width
        In characters.
    """
    console = Console(file=io.StringIO(), record=True, width=width, force_jupyter=False)
    console.print(renderable)
    style = "white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace"
    return console.export_html(
        inline_styles=True, code_format=f'<pre style="{style}"><code>{{code}}</code></pre>'
    )


@contextmanager
def _show_messages(logger: logging.Logger, handler: logging.Handler, level: int) -> Iterator[None]:
    before = logger.level
    handler.setLevel(level)
    logger.addHandler(handler)
    logger.setLevel(min(level, before or level))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def draw_status(status: Status, now: float, title: str = "fabricfit") -> Any:
    """Return the status of a run as a Rich renderable.

    Parameters
    ----------
    status
        Status of the run.
    now
        Seconds since 1970.
    title
        What stands above it.
    """
    parts: list[Any] = [_make_headline(status, now)]
    if status.units:
        gauges = Table.grid(padding=(0, 1))
        for name, share, text, style in _list_gauges(status):
            named = Text(show_controls(name), style="bold")
            gauges.add_row(named, _make_bar(share, style), Text(text))
        parts.append(gauges)
    if status.levels:
        parts.append(_make_levels_table(status))
    return Panel(
        Group(*parts), title=Text(show_controls(title)), title_align="left", border_style="dim"
    )


def _make_headline(status: Status, now: float) -> Any:
    text = Text()
    text.append(status.stage.capitalize(), style="bold")
    if status.stage.startswith("level"):
        text.append(f" · sparsity {status.level:.3g} of {status.target:.3g}")
        if status.epochs:
            text.append(f" · epoch {status.epoch} of at most {status.epochs}")
    if status.counted:
        text.append(f" · {status.counted} {status.epoch} of {status.epochs}")
    if status.begun:
        text.append(f" · {_format_duration(now - status.begun)}")
        left = status.seconds_left(now)
        if left:
            text.append(f", about {_format_duration(left)} left")
    return text


def _list_gauges(status: Status) -> Iterator[tuple[str, float, str, str]]:
    """Yield name, share, text and style of each bar."""
    value = status.metric if status.metric is not None else status.baseline
    if value is not None and status.baseline is not None:
        text = f"{value:.4g} (before {status.baseline:.4g}"
        text += f", at least {status.threshold:.4g})" if status.threshold is not None else ")"
        if status.threshold is not None and not status.increasing:
            text = text.replace("at least", "at most")
        enough = status.threshold is None or (
            value >= status.threshold if status.increasing else value <= status.threshold
        )
        share = value / status.baseline if status.baseline else 1.0
        yield status.metric_name, share, text, "green" if enough else "red"
    for index, unit in enumerate(status.units):
        used, whole = status.used[index], status.before[index]
        limit = None if status.limits is None else status.limits[index]
        text = f"{used:,.0f} of {whole:,.0f}"
        text += f", budget {limit:,.0f}" if limit is not None else ""
        style = "cyan" if limit is None else "green" if used <= limit else "yellow"
        yield unit, used / whole if whole else 0.0, text, style


def _make_bar(share: float, style: str, width: int = 24) -> Any:
    part = min(max(share, 0.0), 1.0) * 100
    return ProgressBar(
        total=100, completed=part, width=width, complete_style=style, finished_style=style
    )


def _make_levels_table(status: Status) -> TextTable:
    """Return a table of the latest levels."""
    header = ["sparsity", status.metric_name, *status.units, "epochs", "seconds", ""]
    rows = []
    for each in status.levels[-8:]:
        resources = each["utilization"] or ["-"] * len(status.units)
        verdict = "accepted" if each["accepted"] else each["note"].split(":")[0][:40] or "rejected"
        rows.append(
            [
                f"{each['sparsity']:.3g}",
                "-" if each["metric"] is None else f"{each['metric']:.4g}",
                *(used if isinstance(used, str) else f"{used:,.0f}" for used in resources),
                str(each["epochs"]),
                f"{each['seconds']:.1f}",
                verdict,
            ]
        )
    return TextTable(header, rows, names=frozenset((len(header) - 1,)))


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
