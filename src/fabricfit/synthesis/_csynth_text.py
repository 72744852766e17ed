"""Reports of C synthesis as text: ``<function>_csynth.rpt``, and ``csynth.rpt`` of Vitis HLS."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fabricfit.synthesis._csynth import TAGS
from fabricfit.synthesis._report import (
    ModuleReport,
    Range,
    SynthesisReport,
    incomplete,
    is_number,
    number,
    read_range,
    read_text,
    without_share,
)
from fabricfit.synthesis._text_tables import TextualTable, iterate_tables

__all__ = ["read_csynth_text"]

_KIND = "csynth.rpt of Vivado HLS or Vitis HLS"
_TITLE = re.compile(
    r"^== (?:(Vivado|Vitis) HLS Report for|(Synthesis Summary Report) of) '(.*)'", re.MULTILINE
)
_FIELD = re.compile(r"^\s*\* (Version|Target device):\s*(\S+)", re.MULTILINE)
_INSTANCE = re.compile(r"^(?:grp_)?(.*?)(?:_fu_\d+|_U\d+)?$")
_NS = {"": 1.0, "ns": 1.0, "us": 1e3, "ms": 1e6, "sec": 1e9}
_MINMAX = {
    5: (0, 1, 2, 3),
    7: (0, 1, 4, 5),
}
"""Columns of a latency table -> those of the smallest and largest latency and interval, in cycles.

Up to 2019.1 there were no columns of absolute times.
"""


def read_csynth_text(path: str | Path) -> SynthesisReport:
    """Read the report of the C synthesis of Vivado HLS or Vitis HLS that is written as text.

    Parameters
    ----------
    path
        ``<function>_csynth.rpt``; or the ``csynth.rpt`` of Vitis HLS, in which a name stands for each
        instance, and which says nothing of the clock and of the device's resources.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or lacks a part of it.
    """
    path = Path(path)
    text = read_text(path, _KIND)
    title = _TITLE.search(text)
    fields = dict(reversed(_FIELD.findall(text)))
    if title is None:
        raise incomplete(path, _KIND, "it has no line \"== ... HLS Report for '...'\"")
    for name in ("Version", "Target device"):
        if name not in fields:
            raise incomplete(path, _KIND, f"it has no line '* {name}: ...'")
    tool = f"{title[1] or 'Vitis'} HLS {fields['Version']}"
    read = _read_summary if title[2] else _read_function
    tables = list(iterate_tables(text))
    return read(path, text, tables, tool, fields["Target device"], title[3])


def _read_function(
    path: Path, text: str, tables: list[TextualTable], tool: str, part: str, top: str
) -> SynthesisReport:
    _require_after(path, text, "== Utilization Estimates", "== Interface")
    clock = _first(path, tables, lambda t: t.columns[:1] == ["Clock"], "of the clock")
    periods = [_read_period(cell) for cell in clock.rows[0][1:4]] + [None] * 3
    latency = _first(
        path,
        tables,
        lambda t: t.columns[:1] == ["min"] and len(t.columns) in _MINMAX,
        "of latencies",
    )
    used = _first(
        path, tables, lambda t: t.columns[:1] == ["Name"] and _names_resources(t), "of resources"
    )
    named = {record["Name"]: record for record in used.records()}
    if "Total" not in named:
        raise incomplete(path, _KIND, "its table of resources has no row 'Total'")
    cycles, interval = _read_ends(path, latency.rows[0])
    return SynthesisReport(
        tool=tool,
        stage="hls",
        part=part,
        resources=_complete(path, _read_resources(path, named["Total"])),
        available=_read_resources(path, named.get("Available", {})),
        interval=interval,
        latency=cycles,
        clock_target=periods[0],
        clock_estimated=periods[1],
        rows=tuple(_iterate_functions(path, tables, top)),
        top=top,
        clock_uncertainty=periods[2],
    )


def _iterate_functions(path: Path, tables: list[TextualTable], top: str) -> Iterator[ModuleReport]:
    """Yield the functions that a function calls, from a table of latencies and one of resources."""
    cycles: dict[str, tuple[Range, Range]] = {}
    used: dict[str, dict[str, float]] = {}
    for table in tables:
        if table.columns[:2] == ["Instance", "Module"]:
            for row in table.rows:
                name = row[1].strip() if len(row) == len(table.columns) else ""
                if name and "min" in table.columns:
                    cycles.setdefault(name, _read_ends(path, row[2:]))
                elif name:
                    record = dict(zip(table.columns, map(str.strip, row), strict=True))
                    used.setdefault(name, _read_resources(path, record))
    for name in dict.fromkeys([*cycles, *used]):
        latency, interval = cycles.get(name, ((None, None), (None, None)))
        yield ModuleReport(name, "module", used.get(name, {}), interval, latency)
    for table in tables:
        if "Loop Name" in table.columns:
            for row in table.rows:
                if len(row) == len(table.columns):
                    yield _read_loop(path, dict(zip(table.columns, row, strict=True)), top)


def _read_loop(path: Path, row: dict[str, str], top: str) -> ModuleReport:
    name = row["Loop Name"].strip().lstrip("-+ ")
    low, high = (read_range(path, _KIND, name, row[end]) for end in ("min", "max"))
    interval = read_range(path, _KIND, name, row.get("achieved", ""))
    return ModuleReport(f"{top}/{name}", "loop", {}, interval, (low[0], high[1]))


def _read_summary(
    path: Path, text: str, tables: list[TextualTable], tool: str, part: str, top: str
) -> SynthesisReport:
    """Read Vitis HLS's ``csynth.rpt``: a ``+`` is in front of a function, an ``o`` of a loop."""
    _require_after(path, text, "+ Performance & Resource Estimates", "\n== ")
    table = _first(
        path, tables, lambda t: t.titles[:1] == ["Modules & Loops"], "of modules and loops"
    )
    rows: list[ModuleReport] = []
    function = top
    for record in table.records():
        mark, _, name = record["Modules & Loops"].partition(" ")
        if mark not in ("+", "o"):
            raise incomplete(path, _KIND, f"a row must start with '+' or 'o'. Received: {mark!r}")
        kind = "loop" if mark == "o" else "module"
        name = _INSTANCE.sub(r"\1", name.strip().rstrip("*"))
        function = name if kind == "module" else function
        rows.append(
            ModuleReport(
                name if kind == "module" else f"{function}/{name}",
                kind,
                _read_resources(path, record, missing=0.0) if kind == "module" else {},
                read_range(path, _KIND, "Interval", record.get("Interval", "")),
                read_range(path, _KIND, "Latency (cycles)", record.get("Latency (cycles)", "")),
            )
        )
    if not rows:
        raise incomplete(path, _KIND, "its table of modules and loops has no complete row")
    whole = rows[0]
    return SynthesisReport(
        tool=tool,
        stage="hls",
        part=part,
        resources=_complete(path, whole.resources),
        interval=whole.interval,
        latency=whole.latency,
        rows=tuple(rows[1:]),
        top=top,
    )


def _first(
    path: Path, tables: list[TextualTable], is_wanted: Callable[[TextualTable], bool], what: str
) -> TextualTable:
    for table in tables:
        if table.rows and is_wanted(table):
            return table
    raise incomplete(path, _KIND, f"it has no table {what}")


def _require_after(path: Path, text: str, heading: str, end: str) -> None:
    """Refuse a report that breaks off before what follows a part of it."""
    if text.find(end, max(text.find(heading), 0)) < 0 or heading not in text:
        raise incomplete(path, _KIND, f"it ends before what follows {heading!r}")


def _names_resources(table: TextualTable) -> bool:
    return all(any(tag in table.columns for tag in TAGS[name]) for name in ("dsp", "bram18", "lut"))


def _read_ends(path: Path, cells: list[str]) -> tuple[Range, Range]:
    """Return the ranges of the latency and of the interval in a row of a table of latencies."""
    if len(cells) not in _MINMAX:
        raise incomplete(
            path, _KIND, f"a row of latencies must have 5 or 7 cells. Received: {cells}"
        )
    low, high, least, most = (
        read_range(path, _KIND, "a latency or interval", cells[at]) for at in _MINMAX[len(cells)]
    )
    return (low[0], high[1]), (least[0], most[1])


def _read_resources(
    path: Path, record: dict[str, str], missing: float | None = None
) -> dict[str, float]:
    """Return the resources of a row, in which ``-`` is none, and a share of the device may follow."""
    found = {}
    for name, tags in TAGS.items():
        for tag in (*tags, "BRAM") if name == "bram18" else tags:
            text = without_share(record.get(tag, "").strip())
            if is_number(text):
                found[name] = float(text)
            elif tag in record and text == "-" and missing is not None:
                found[name] = missing
            elif tag in record and text != "-":
                number(path, _KIND, tag, text)
    return found


def _complete(path: Path, found: dict[str, float]) -> dict[str, float]:
    found = {"uram": 0.0} | found
    for name in TAGS:
        if name not in found:
            raise incomplete(
                path, _KIND, f"its table of resources has no number of {TAGS[name][0]}"
            )
    return {name: found[name] for name in TAGS}


def _read_period(cell: str) -> float | None:
    text, _, unit = cell.strip().partition(" ")
    return float(text) * _NS[unit.strip()] if is_number(text) and unit.strip() in _NS else None
