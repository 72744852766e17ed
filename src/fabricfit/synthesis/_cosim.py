"""Reports of co-simulation: the cycles that the generated RTL really needs."""

from __future__ import annotations

import re
from pathlib import Path

from fabricfit.synthesis._report import Range, SynthesisReport, incomplete, read_range, read_text

__all__ = ["read_cosim"]

_KIND = "cosim.rpt of Vivado HLS or Vitis HLS"
_LANGUAGES = ("Verilog", "VHDL", "SystemC")
_NOT_RUN = "NA"
_TRANSACTION = re.compile(r"^\s*transaction\s+\d+:\s+(\d+)\s+(\d+|x)\s*$", re.MULTILINE)
_UNKNOWN: Range = (None, None)


def read_cosim(path: str | Path) -> SynthesisReport:
    """Read the report of a co-simulation of Vivado HLS or Vitis HLS.

    Parameters
    ----------
    path
        ``<function>_cosim.rpt``. The list of transactions that lies beside it in ``../verilog`` or
        ``../vhdl`` counts where the report itself has no cycles.

    Returns
    -------
    SynthesisReport
        Without resources, and without tool and part, which this report does not say. Its status is ``'NA'``
        where nothing was simulated.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or breaks off.
    """
    path = Path(path)
    text = read_text(path, _KIND)
    rows = {}
    for line in map(str.strip, text.splitlines()):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line[:1] == line[-1:] == "|" and cells[0] in _LANGUAGES and len(cells) > 1:
            rows[cells[0]] = cells[1:]
    if not rows:
        raise incomplete(path, _KIND, "its table has no row 'Verilog' or 'VHDL'")
    if not text.rstrip().endswith("+"):
        raise incomplete(path, _KIND, "its table breaks off")
    language = next((name for name in rows if rows[name][0] != _NOT_RUN), next(iter(rows)))
    status, *cells = rows[language]
    latency, interval = _read_cells(path, cells)
    if latency == interval == _UNKNOWN:
        latency, interval = _read_transactions(path, language)
    return SynthesisReport(
        tool=None,
        stage="cosim",
        part=None,
        resources={},
        interval=interval,
        latency=latency,
        top=path.stem.removesuffix("_cosim"),
        status=status,
    )


def _read_cells(path: Path, cells: list[str]) -> tuple[Range, Range]:
    """Return the cycles in a row: smallest, average and largest of both; newer reports add a total."""
    if not cells:
        return _UNKNOWN, _UNKNOWN
    if len(cells) not in (6, 7):
        raise incomplete(
            path, _KIND, f"a row must have 6 or 7 numbers of cycles. Received: {cells}"
        )
    least, _, most, shortest, _, longest = (
        read_range(path, _KIND, "a latency or interval", cell)[0] for cell in cells[:6]
    )
    return (least, most), (shortest, longest)


def _read_transactions(path: Path, language: str) -> tuple[Range, Range]:
    """Return the cycles of all transactions, where a list of them lies beside the report."""
    name = f"{path.stem.removesuffix('_cosim')}.performance.result.transaction.xml"
    listed = path.parent.parent / language.lower() / name
    if not listed.is_file():
        return _UNKNOWN, _UNKNOWN
    found = _TRANSACTION.findall(read_text(listed, "list of transactions"))
    latencies = [int(latency) for latency, _ in found]
    intervals = [int(interval) for _, interval in found if interval != "x"]
    return _ends(latencies), _ends(intervals)


def _ends(numbers: list[int]) -> Range:
    return (min(numbers), max(numbers)) if numbers else _UNKNOWN
