"""One table of the reports of all tools on a design: the whole design, its functions and its loops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fabricfit.synthesis.reports import ModuleReport, SynthesisReport, read_project
from fabricfit.tables import Document, Printable, TextTable

__all__ = ["ReportTable", "TableRow", "read_table", "tabulate"]

_CALL = re.compile(r"\bnnet::\w+<[^;]*?config(\d+)[^;]*;\s*//\s*(\S+)")
_HEAD = re.compile(r"_(?:ap_|array_|config|\w*_config)")
_CONFIG = re.compile(r"config(\d+)(?:_|$)")


@dataclass(frozen=True)
class TableRow:
    """A row: the whole design, a function or a loop, at one stage. ``None`` is what a report does not say.

    Parameters
    ----------
    stage
        One of :data:`fabricfit.synthesis.reports.STAGES`.
    tool, version
        The tool, and its version.
    part
        Part number of the FPGA.
    kind
        ``'design'``, ``'module'`` or ``'loop'``.
    module
        Name in the report.
    layer
        Layer of the hls4ml model that the function computes.
    dsp, bram18, uram, lut, ff
        Resources that it uses.
    interval_min, interval_max, latency_min, latency_max
        Initiation interval and latency in cycles.
    clock_target, clock_estimated
        Requested and expected clock period in ns.
    slack, total_negative_slack
        Worst slack and the sum of the negative ones, in ns.
    status
        Outcome of a co-simulation, or of the timing.
    """

    stage: str
    tool: str | None
    version: str | None
    part: str | None
    kind: str
    module: str | None
    layer: str | None
    dsp: float | None
    bram18: float | None
    uram: float | None
    lut: float | None
    ff: float | None
    interval_min: int | None
    interval_max: int | None
    latency_min: int | None
    latency_max: int | None
    clock_target: float | None
    clock_estimated: float | None
    slack: float | None = None
    total_negative_slack: float | None = None
    status: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain numbers and strings."""
        return dict(vars(self))


@dataclass(frozen=True)
class ReportTable(Printable):
    """The reports on a design as one table; printed, it has no rows of loops.

    Parameters
    ----------
    rows
        Of each stage, the whole design, then its functions and loops.
    """

    rows: tuple[TableRow, ...]

    def design(self, stage: str) -> TableRow | None:
        """Return the row of the whole design at a stage; ``None`` where there is no report of it."""
        return next((r for r in self.rows if (r.stage, r.kind) == (stage, "design")), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain numbers, strings, lists and dictionaries."""
        return {"rows": [row.to_dict() for row in self.rows]}

    def to_frame(self) -> Any:
        """Return the table as a pandas data frame, a row for each."""
        import pandas

        names = [each.name for each in fields(TableRow)]
        return pandas.DataFrame([row.to_dict() for row in self.rows], columns=names)

    def _make_document(self) -> Document:
        resources = ("DSP", "BRAM18", "URAM", "LUT", "FF")
        header = ("stage", "", *resources, "II", "latency", "clock ns", "slack ns", "")
        shown = [row for row in self.rows if row.kind != "loop"]
        times = Counter((row.stage, row.layer) for row in shown)
        cells = [_write_row(row, times[row.stage, row.layer] > 1) for row in shown]
        names = frozenset((0, 1, len(header) - 1))
        heads = dict.fromkeys(
            ", ".join(filter(None, (" ".join(filter(None, (row.tool, row.version))), row.part)))
            for row in self.rows
            if row.kind == "design"
        )
        return Document([*filter(None, heads), TextTable(header, cells, names=names)])


def read_table(folder: str | Path) -> ReportTable:
    """Read all reports in the folder of an hls4ml project into one table.

    Parameters
    ----------
    folder
        As for :func:`fabricfit.synthesis.reports.read_project`; its C++ tells which function computes which
        layer.

    Raises
    ------
    InvalidInputError
        There is no report, or one is not complete.
    """
    return tabulate(read_project(folder), _read_layers(Path(folder)))


def tabulate(
    reports: Sequence[SynthesisReport], layers: Mapping[int, str] | None = None
) -> ReportTable:
    """Make one table of reports.

    Parameters
    ----------
    reports
        The reports, such as those of :func:`fabricfit.synthesis.reports.read_project`.
    layers
        hls4ml's number of a layer (2 for ``config2``) -> its name, for the column of layers; none by default.
    """
    return ReportTable(
        tuple(row for report in reports for row in _iterate_rows(report, layers or {}))
    )


def _iterate_rows(report: SynthesisReport, layers: Mapping[int, str]) -> Iterator[TableRow]:
    whole = ModuleReport(
        report.top or "", "design", report.resources, report.interval, report.latency,
        report.clock_estimated,
    )  # fmt: skip
    version = report.version
    tool = (report.tool or "").removesuffix(f" {version}") or None
    for row in (whole, *report.rows):
        is_whole = row is whole
        yield TableRow(
            stage=report.stage,
            tool=tool,
            version=version,
            part=report.part,
            kind=row.kind,
            module=row.name or None,
            layer=None if is_whole else _find_layer(row.name, layers),
            **{name: row.resources.get(name) for name in ("dsp", "bram18", "uram", "lut", "ff")},
            interval_min=row.interval[0],
            interval_max=row.interval[1],
            latency_min=row.latency[0],
            latency_max=row.latency[1],
            clock_target=report.clock_target,
            clock_estimated=row.clock_estimated,
            slack=report.slack if is_whole else None,
            total_negative_slack=report.total_negative_slack if is_whole else None,
            status=report.status if is_whole else None,
        )


def _find_layer(module: str, layers: Mapping[int, str]) -> str | None:
    """Return the layer whose number is in a function's name, as in ``dense_latency_..._config2_s``."""
    found = _CONFIG.search(module)
    return layers.get(int(found[1])) if found else None


def _read_layers(folder: Path) -> dict[int, str]:
    """Return number -> layer, from the calls in a project's C++, each with its layer's name behind it."""
    found: dict[int, str] = {}
    for file in sorted((folder / "firmware").glob("*.cpp")):
        for number, layer in _CALL.findall(file.read_text(encoding="utf-8", errors="replace")):
            found.setdefault(int(number), layer)
    return found


def _write_row(row: TableRow, shared: bool) -> tuple[str, ...]:
    """Write a row; a layer that is shared by several functions has their names behind it."""
    whole = row.kind == "design"
    name = row.module or ""
    if row.layer and not whole:
        name = f"{row.layer}: {_HEAD.split(name)[0]}" if shared else row.layer
    name = name if whole else f"  {name}"
    return (
        row.stage if whole else "",
        name,
        *(_write_number(used) for used in (row.dsp, row.bram18, row.uram, row.lut, row.ff)),
        _write_ends(row.interval_min, row.interval_max),
        _write_ends(row.latency_min, row.latency_max),
        _write_number(row.clock_estimated),
        _write_number(row.slack),
        row.status or "",
    )


def _write_number(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def _write_ends(low: int | None, high: int | None) -> str:
    if low == high:
        return _write_number(low)
    return f"{_write_number(low) or '?'} … {_write_number(high) or '?'}"
