"""Tables of text that AMD's tools draw with ``+``, ``-`` and ``|``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["TextualTable", "iterate_tables"]


@dataclass
class TextualTable:
    """One table.

    Parameters
    ----------
    header
        Lines of cells above the rows; a title that takes several lines has a cell in each.
    rows
        Cells of each row, with the spaces in front of them, which say how deep an instance is.
    closed
        Whether a line ends the table, so that it did not break off.
    """

    header: list[list[str]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    closed: bool = False

    @property
    def columns(self) -> list[str]:
        """The last line of the header."""
        return [cell.strip() for cell in self.header[-1]] if self.header else []

    @property
    def titles(self) -> list[str]:
        """The whole title of each column, its lines joined by a space."""
        return [
            " ".join(filter(None, map(str.strip, cells)))
            for cells in zip(*self.header, strict=False)
        ]

    def records(self) -> Iterator[dict[str, str]]:
        """Yield the rows as title -> cell, without spaces around it; incomplete rows are left out."""
        for row in self.rows:
            if len(row) == len(self.titles):
                yield dict(zip(self.titles, map(str.strip, row), strict=True))


def iterate_tables(text: str) -> Iterator[TextualTable]:
    """Yield the tables in a text, in order; a table is a header between two lines, and rows.

    Parameters
    ----------
    text
        A report.
    """
    table, lines = TextualTable(), 0
    for line in map(str.strip, [*text.splitlines(), ""]):
        if line.startswith("+-") and not line.strip("+-"):
            lines += 1
            table.closed = lines > 2
        elif lines and len(line) > 1 and line[0] == line[-1] == "|":
            cells = [cell.rstrip() for cell in line[1:-1].split("|")]
            (table.header if lines == 1 else table.rows).append(cells)
            table.closed = False
        elif lines:
            yield table
            table, lines = TextualTable(), 0
