"""Reports of a netlist's resource usage: the text of Vivado's ``report_utilization``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fabricfit.synthesis._report import SynthesisReport, incomplete, is_number, number, read_text

__all__ = ["read_utilization"]

_KIND = "report of Vivado's report_utilization"
_HEADER = re.compile(
    r"^\|\s*(Tool Version|Device|Design State)\s*:\s*(\S.*?)[ \t|]*$", re.MULTILINE
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


def read_utilization(path: str | Path) -> SynthesisReport:
    """Read a report of Vivado's ``report_utilization``, such as the ``vivado_synth.rpt`` of hls4ml.

    Parameters
    ----------
    path
        The file. A report by hierarchy (``-hierarchical``) cannot be read.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or lacks a part of it.
    """
    path = Path(path)
    text = read_text(path, _KIND)
    header = dict(reversed(_HEADER.findall(text)))
    for name in ("Tool Version", "Device", "Design State"):
        if name not in header:
            raise incomplete(path, _KIND, f"it has no line '| {name} : ...'")
    version = re.match(r"Vivado v\.?(\S+)", header["Tool Version"])
    early = header["Design State"].lower() in _BEFORE_PLACEMENT
    used, available = _read_resources(path, text)
    return SynthesisReport(
        tool=f"Vivado {version[1]}" if version else header["Tool Version"],
        stage="logic synthesis" if early else "implementation",
        part=header["Device"],
        resources=used,
        available=available,
    )


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
    columns: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if len(line) < 2 or not (line[0] == line[-1] == "|"):
            columns = columns if line.startswith("+") else []
            continue
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if cells[0] == "Site Type":
            columns = cells if {"Used", "Available"} <= set(cells) else []
        elif columns and len(cells) == len(columns):
            row = dict(zip(columns, cells, strict=True))
            yield cells[0].rstrip("*"), row["Used"], row["Available"]
