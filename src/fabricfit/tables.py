"""Tables as text, drawn by Rich at the width of the terminal; the one place that draws them."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["WIDTH", "TextTable", "output_width"]

WIDTH = 120
"""Columns of a table where the output is no terminal: a file, a pipe, a page of the documentation."""

_GAP = 2
"""Columns between two cells."""
_LEAST = 18
"""Columns that a name has at least, as far as it needs them; a longer one is folded."""
_LINES = 4
"""Lines that a sentence in a cell is folded to, about, before columns continue in a further table."""
_RULES = Box("    \n    \n ── \n    \n ── \n ── \n    \n    \n")
"""A rule below the header and above the last rows, and no other lines."""


def output_width() -> int:
    """Return the columns of the terminal that standard output is, :data:`WIDTH` where it is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH
    return shutil.get_terminal_size((WIDTH, 24)).columns


@dataclass(frozen=True)
class TextTable:
    """A table of names and numbers that fits a width without breaking a number.

    Where its columns are too wide, headers and names wrap between words, and long names fold. Columns
    that still do not fit continue in further tables below, each with the first column again. Rich draws
    it (``console.print(table)``) at the width of its console.

    Parameters
    ----------
    header
        Name of each column.
    rows
        Cells of each row, as many as the header has.
    names
        Columns that hold words: aligned to the left and folded if need be. All others hold numbers and
        are aligned to the right.
    closing
        How many of the last rows, such as totals, are set off by a rule.
    title
        A line above the table; none by default.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: frozenset[int] = field(default_factory=lambda: frozenset((0,)))
    closing: int = 0
    title: str = ""

    def lines(self, width: int | None = None) -> list[str]:
        """Return the table as lines without colors.

        Parameters
        ----------
        width
            Columns that it may use; :func:`output_width` by default.
        """
        page = _Page()
        console = Console(
            file=page,
            width=width or output_width(),
            color_system=None,
            force_terminal=False,
            force_jupyter=False,  # a notebook would show the table here
        )
        console.print(self)
        return [line.rstrip() for line in page.getvalue().splitlines()]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield the tables that fit the width of a console."""
        least = [self._least_width(column) for column in range(len(self.header))]
        for number, columns in enumerate(_divide_columns(least, options.max_width)):
            if number:
                yield Text()
            yield self._draw(columns, least, options.max_width, "" if number else self.title)

    def _draw(self, columns: Sequence[int], least: Sequence[int], width: int, title: str) -> Table:
        table = Table(
            box=_RULES, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0),
            title=title or None, title_justify="left",
        )  # fmt: skip
        widths = _shrink_widths(
            [self._full_width(column) for column in columns],
            [least[column] for column in columns],
            width - _GAP * (len(columns) - 1),
        )
        for column, size in zip(columns, widths, strict=True):
            table.add_column(
                Text(self.header[column]),
                justify="left" if column in self.names else "right",
                overflow="fold",
                width=size,
                vertical="top",
            )
        for number, row in enumerate(self.rows, 1):
            left = len(self.rows) - number
            table.add_row(
                *(Text(row[column]) for column in columns),
                end_section=bool(left) and left == self.closing,
                style="bold" if left == self.closing - 1 else None,
            )
        return table

    def _full_width(self, column: int) -> int:
        return _longest([self.header[column], *(row[column] for row in self.rows)])

    def _least_width(self, column: int) -> int:
        words = self.header[column].split()
        if column not in self.names:
            return _longest([*words, *(row[column] for row in self.rows)])
        words += [word for row in self.rows for word in row[column].split()]
        return max(min(_longest(words), _LEAST), -(-self._full_width(column) // _LINES))


class _Page(io.StringIO):
    """Text in memory that has the encoding of standard output, so that Rich draws what it can hold."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it as an attribute
        return getattr(sys.stdout, "encoding", None) or "utf-8"


def _longest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=1)


def _divide_columns(least: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of as few tables as fit, about equally wide; the first column is in all."""
    tables = _fill_tables(least, width)
    for narrower in range(width - 1, 0, -1):
        divided = _fill_tables(least, narrower)
        if len(divided) > len(tables):
            break
        tables = divided
    return tables


def _fill_tables(least: Sequence[int], width: int) -> list[list[int]]:
    tables, used = [[0]], least[0]
    for column, size in enumerate(least[1:], 1):
        if used + _GAP + size > width and len(tables[-1]) > 1:
            tables.append([0])
            used = least[0]
        tables[-1].append(column)
        used += _GAP + size
    return tables


def _shrink_widths(full: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Narrow the widest columns first until all fit, none below its least width."""
    widths = list(full)
    while sum(widths) > width:
        wide = [i for i, size in enumerate(widths) if size > least[i]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths
