"""Reports of timing after implementation: the text of Vivado's ``report_timing_summary``."""

from __future__ import annotations

import re
from pathlib import Path

from fabricfit.synthesis._report import (
    SynthesisReport,
    incomplete,
    is_number,
    is_signed,
    read_text,
)
from fabricfit.synthesis._utilization import read_header

__all__ = ["read_timing"]

_KIND = "report of Vivado's report_timing_summary"
_COLUMNS = ("WNS(ns)", "TNS(ns)", "WHS(ns)")
_NEXT = "| Intra Clock Table"
_END = "| Inter Clock Table"


def read_timing(path: str | Path) -> SynthesisReport:
    """Read a report of Vivado's ``report_timing_summary``.

    Parameters
    ----------
    path
        The file, such as ``design_1_wrapper_timing_summary_routed.rpt``.

    Returns
    -------
    SynthesisReport
        With the slacks of the whole design; its clock period is that of the clock whose slack is the worst.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or lacks a part of it.
    """
    path = Path(path)
    text = read_text(path, _KIND)
    header = read_header(path, _KIND, text, ("Tool Version", "Device"))
    if _NEXT not in text or _END not in text.partition(_NEXT)[2]:
        raise incomplete(path, _KIND, "it ends before what follows its table of clocks")
    whole = _read_row(path, text)
    slacks = [_read_slack(path, name, whole[name]) for name in _COLUMNS]
    period = _find_period(text, whole["WNS(ns)"])
    slack = slacks[0]
    met = "Timing constraints are not met" not in text
    return SynthesisReport(
        tool=header["tool"],
        stage="timing",
        part=header["Device"],
        resources={},
        clock_target=period,
        clock_estimated=None if period is None or slack is None else round(period - slack, 3),
        top=header.get("Design"),
        slack=slack,
        total_negative_slack=slacks[1],
        hold_slack=slacks[2],
        status=None if slack is None else "met" if met and slack >= 0 else "not met",
    )


def _read_row(path: Path, text: str) -> dict[str, str]:
    """Return the numbers of the whole design, which stand below their titles, by title."""
    after = text.partition("| Design Timing Summary")[2]
    lines = [line for line in after.partition("| Clock Summary")[0].splitlines() if line.strip()]
    for at, line in enumerate(lines[:-2]):
        if "WNS(ns)" in line:
            titles = re.split(r"\s{2,}", line.strip())
            cells = lines[at + 2].split()
            if len(cells) == len(titles) and set(_COLUMNS) <= set(titles):
                return dict(zip(titles, cells, strict=True))
    raise incomplete(path, _KIND, f"it has no complete row of {', '.join(_COLUMNS)}")


def _read_slack(path: Path, name: str, text: str) -> float | None:
    """Return a slack; ``None`` where there is no path between registers (``NA``, ``inf``)."""
    if text.lower() in ("na", "inf"):
        return None
    if not is_signed(text):
        raise incomplete(path, _KIND, f"{name} must be a number. Received: {text!r}")
    return float(text)


def _find_period(text: str, worst: str) -> float | None:
    """Return the period of the clock that has the worst slack; ``None`` where no clock has it."""
    periods, slacks = {}, {}
    clocks = text.partition("| Clock Summary")[2].partition(_NEXT)[0]
    for line in clocks.splitlines():
        found = re.match(r"\s*(\S+)\s+\{.*\}\s+(\S+)\s+\S+\s*$", line)
        if found and is_number(found[2]):
            periods[found[1]] = float(found[2])
    for line in text.partition(_NEXT)[2].partition(_END)[0].splitlines():
        cells = line.split()
        if len(cells) > 1 and cells[0] in periods:
            slacks[cells[0]] = cells[1]
    return next((periods[name] for name, slack in slacks.items() if slack == worst), None)
