"""Reports of a netlist's resource usage: the text of Vivado's ``report_utilization``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fabricfit.synthesis._report import (
    ModuleReport,
    SynthesisReport,
    incomplete,
    is_number,
    number,
    read_text,
    without_share,
)
from fabricfit.synthesis._text_tables import TextualTable, iterate_tables

__all__ = ["read_header", "read_utilization"]

_KIND = "report of Vivado's report_utilization"
_HEADER = re.compile(
    r"^\|\s*(Tool Version|Device|Design State|Design)\s*:\s*(\S.*?)[ \t|]*$", re.MULTILINE
)
_BEFORE_PLACEMENT = ("synthesized", "optimized")

_SITES: dict[str, tuple[dict[str, int], ...]] = {
    "dsp": ({"DSPs": 1}, {"DSP Slices": 1}),
    "bram18": (
        {"Block RAM Tile": 2},
        {"RAMB36/FIFO": 2, "RAMB18": 1},
        {"RAMB36E5": 2, "RAMB18E5": 1},
    ),
    "uram": ({"URAM": 1},),
    "lut": ({"CLB LUTs": 1}, {"Slice LUTs": 1}),
    "ff": ({"CLB Registers": 1}, {"Slice Registers": 1}, {"Registers": 1}),
}
"""Resource -> sets of rows that count it, each row with its units; the first complete set is used.

The first row of a set covers the whole device, so it also tells how many the device has.
"""


_COLUMNS = {
    "dsp": ({"DSP Blocks": 1}, {"DSP48 Blocks": 1}),
    "bram18": ({"RAMB36": 2, "RAMB18": 1},),
    "uram": ({"URAM": 1},),
    "lut": ({"Total LUTs": 1},),
    "ff": ({"FFs": 1},),
}
"""Resource -> sets of columns of a report by hierarchy that count it, each with its units."""


def read_utilization(path: str | Path) -> SynthesisReport:
    """Read a report of Vivado's ``report_utilization``, such as the ``vivado_synth.rpt`` of hls4ml.

    Parameters
    ----------
    path
        The file. A report by hierarchy (``-hierarchical``), such as the ``util.rpt`` of hls4ml's
        VivadoAccelerator, has a row for each instance, and says nothing of what the device has.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or lacks a part of it.
    """
    path = Path(path)
    text = read_text(path, _KIND)
    header = read_header(path, _KIND, text, ("Tool Version", "Device", "Design State"))
    early = header["Design State"].lower() in _BEFORE_PLACEMENT
    by_hierarchy = next(
        (t for t in iterate_tables(text) if t.columns[:2] == ["Instance", "Module"]), None
    )
    rows: list[ModuleReport] = []
    if by_hierarchy is None:
        used, available = _read_resources(path, text)
    else:
        whole, *rows = _read_hierarchy(path, by_hierarchy)
        used, available = whole.resources, {}
    return SynthesisReport(
        tool=header["tool"],
        stage="logic synthesis" if early else "implementation",
        part=header["Device"],
        resources=used,
        available=available,
        rows=tuple(rows),
        top=header.get("Design"),
    )


def read_header(path: Path, kind: str, text: str, needed: Sequence[str]) -> dict[str, str]:
    """Return the fields at the head of a report of Vivado, and its ``'tool'`` with the version.

    Parameters
    ----------
    path, kind
        The file, and the kind of file that is expected.
    text
        Its text.
    needed
        Fields that it must have.

    Raises
    ------
    InvalidInputError
        One of them is missing.
    """
    header = dict(reversed(_HEADER.findall(text)))
    for name in needed:
        if name not in header:
            raise incomplete(path, kind, f"it has no line '| {name} : ...'")
    version = re.match(r"Vivado v\.?(\S+)", header["Tool Version"])
    return header | {"tool": f"Vivado {version[1]}" if version else header["Tool Version"]}


def _read_hierarchy(path: Path, table: TextualTable) -> list[ModuleReport]:
    """Return the usage of each instance, the whole design first."""
    columns = table.columns
    chosen = {}
    for name, alternatives in _COLUMNS.items():
        sites = next((sites for sites in alternatives if set(sites) <= set(columns)), None)
        if sites is None and name != "uram":
            raise incomplete(
                path, _KIND, f"its table has no column {next(iter(alternatives[0]))!r}"
            )
        chosen[name] = sites or {}
    found = []
    for record in table.records():
        if not record["Instance"].startswith(
            "("
        ):  # what an instance uses itself, without those inside
            used = {
                name: float(
                    sum(
                        units * number(path, _KIND, repr(site), without_share(record[site]))
                        for site, units in sites.items()
                    )
                )
                for name, sites in chosen.items()
            }
            inside = record["Module"] not in ("", "(top)")
            found.append(ModuleReport(record["Module" if inside else "Instance"], resources=used))
    if not found or not table.closed:
        raise incomplete(path, _KIND, "its table by hierarchy has no rows, or breaks off")
    return found


def _read_resources(path: Path, text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the resources that are used, and those that the device has."""
    rows: dict[str, tuple[str, str]] = {}
    for site, used_here, available_here in _iterate_rows(text):
        rows.setdefault(site, (used_here, available_here))
    used, available = {"uram": 0.0}, {}
    for name, alternatives in _SITES.items():
        sites = next((sites for sites in alternatives if set(sites) <= set(rows)), None)
        if sites is None:
            continue
        used[name] = sum(
            units * number(path, _KIND, repr(site), rows[site][0]) for site, units in sites.items()
        )
        first, units = next(iter(sites.items()))
        if is_number(rows[first][1]):
            available[name] = units * float(rows[first][1])
    for name in _SITES:
        if name not in used:
            looked_for = " or ".join(repr(next(iter(sites))) for sites in _SITES[name])
            raise incomplete(path, _KIND, f"none of its tables has a row {looked_for}")
    return {name: used[name] for name in _SITES}, available


def _iterate_rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield site, used and available from the tables that have these columns.

    Other columns differ between versions. Incomplete rows are skipped.
    """
    for table in iterate_tables(text):
        if table.columns[:1] == ["Site Type"] and {"Used", "Available"} <= set(table.columns):
            for row in table.records():
                yield row["Site Type"].rstrip("*"), row["Used"], row["Available"]
