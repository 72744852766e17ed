"""Tables and what is said beside them, at the width of the terminal; the one place that draws them.

Rich draws them on terminals and in files; in notebooks they are tables of HTML.
"""

from __future__ import annotations

import html
import io
import re
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = [
    "WIDTH",
    "Document",
    "Facts",
    "Printable",
    "TextTable",
    "output_width",
    "show_controls",
    "show_lines",
]

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
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
"""Characters that move the cursor, end lines, turn the direction of writing or are none (halves of pairs)."""


def output_width() -> int:
    """Return the columns of the terminal that standard output is, :data:`WIDTH` where it is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH
    return shutil.get_terminal_size((WIDTH, 24)).columns


def show_controls(text: str) -> str:
    """Return a text of one line: control characters are written as Python writes them."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def show_lines(text: str) -> str:
    """Return a text of several lines: all control characters but ends of lines are written out."""
    return "\n".join(map(show_controls, text.split("\n")))


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
        return _draw_lines([self], width or output_width())

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield the tables that fit the width of a console."""
        least = [self._least_width(column) for column in range(len(self.header))]
        # A column is folded where it would be wider than all there is, beside the names.
        least[0] = max(min(least[0], options.max_width // 2), 1)
        rest = max(options.max_width - _GAP - least[0], 1)
        least[1:] = [min(size, rest) for size in least[1:]]
        for number, columns in enumerate(_divide_columns(least, options.max_width)):
            if number:
                yield Text()
            yield self._draw(columns, least, options.max_width, "" if number else self.title)

    def _draw(self, columns: Sequence[int], least: Sequence[int], width: int, title: str) -> Table:
        table = Table(
            box=_RULES, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0),
            title=Text(show_controls(title)) if title else None, title_justify="left",
        )  # fmt: skip
        widths = _shrink_widths(
            [self._full_width(column) for column in columns],
            [least[column] for column in columns],
            width - _GAP * (len(columns) - 1),
        )
        for column, size in zip(columns, widths, strict=True):
            table.add_column(
                Text(show_controls(self.header[column])),
                justify="left" if column in self.names else "right",
                overflow="fold",
                width=size,
                vertical="top",
            )
        for number, row in enumerate(self.rows, 1):
            left = len(self.rows) - number
            table.add_row(
                *(Text(show_controls(row[column])) for column in columns),
                end_section=bool(left) and left == self.closing,
                style="bold" if left == self.closing - 1 else None,
            )
        return table

    def to_html(self) -> str:
        """Return the table as HTML, whose every cell is text."""
        side = [
            f"text-align: {'left' if i in self.names else 'right'}" for i in range(len(self.header))
        ]
        head = "".join(
            f'<th style="{style}">{_escape(cell)}</th>'
            for style, cell in zip(side, self.header, strict=True)
        )
        body = []
        for number, row in enumerate(self.rows, 1):
            bold = "; font-weight: bold" if len(self.rows) - number == self.closing - 1 else ""
            cells = (
                f'<td style="{style}{bold}">{_escape(cell)}</td>'
                for style, cell in zip(side, row, strict=True)
            )
            body.append(f"<tr>{''.join(cells)}</tr>")
        title = (
            f'<caption style="text-align: left">{_escape(self.title)}</caption>'
            if self.title
            else ""
        )
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"

    def _cells(self, column: int) -> list[str]:
        return [show_controls(row[column]) for row in self.rows]

    def _full_width(self, column: int) -> int:
        return _longest([self.header[column], *self._cells(column)])

    def _least_width(self, column: int) -> int:
        words = self.header[column].split()
        if column not in self.names:
            return _longest([*words, *self._cells(column)])
        words += [word for cell in self._cells(column) for word in cell.split()]
        return max(min(_longest(words), _LEAST), -(-self._full_width(column) // _LINES))


@dataclass(frozen=True)
class Facts:
    """Names, and what is said of each in a line or a few.

    Parameters
    ----------
    rows
        Names and sentences.
    """

    rows: Sequence[tuple[str, str]]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield a grid of two columns, the second of which is folded between words."""
        grid = Table.grid(padding=(0, _GAP, 0, 0))
        longest = _longest([show_controls(name) for name, _ in self.rows])
        names = min(longest, options.max_width // 3) + _GAP  # Rich counts the padding in
        grid.add_column(width=names, overflow="fold", style="bold")
        grid.add_column(overflow="fold")
        for name, text in self.rows:
            grid.add_row(Text(show_controls(name)), Text(show_controls(text)))
        yield grid

    def to_html(self) -> str:
        """Return a table of two columns as HTML, whose every cell is text."""
        left = 'style="text-align: left'
        rows = (
            f'<tr><th {left}">{_escape(name)}</th><td {left}">{_escape(text)}</td></tr>'
            for name, text in self.rows
        )
        return f"<table><tbody>{''.join(rows)}</tbody></table>"


@dataclass(frozen=True)
class Document:
    """Tables, and sentences between them, each of which is a line that is folded on a terminal.

    Parameters
    ----------
    parts
        Tables, facts and sentences in their order.
    """

    parts: Sequence[str | TextTable | Facts | Document]

    def lines(self, width: int | None = None) -> list[str]:
        """Return all of it as lines without colors.

        Parameters
        ----------
        width
            Columns that it may use. By default those of the terminal that standard output is; where it is
            none, tables have :data:`WIDTH`, and sentences are not folded.
        """
        folds = width is not None or (sys.stdout is not None and sys.stdout.isatty())
        width = width or output_width()
        found: list[str] = []
        for part in self._flatten():
            if isinstance(part, str) and not folds:
                found.append(show_controls(part))
            else:
                found += _draw_lines([_fold(part)], width)
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield its parts, folded at the width of a console."""
        yield from map(_fold, self._flatten())

    def to_html(self) -> str:
        """Return all of it as HTML, in which names are text."""
        found = []
        for are_sentences, parts in groupby(self._flatten(), lambda part: isinstance(part, str)):
            if are_sentences:
                text = "<br>".join(_escape(str(part)) for part in parts)
                found.append(f'<p style="white-space: pre-wrap; margin: .5em 0">{text}</p>')
            else:
                found += [part.to_html() for part in parts if not isinstance(part, str)]
        return f"<div>{''.join(found)}</div>"

    def _flatten(self) -> Iterator[str | TextTable | Facts]:
        """Yield the parts, sentences line by line."""
        for part in self.parts:
            if isinstance(part, Document):
                yield from part._flatten()
            elif isinstance(part, str):
                yield from part.split("\n")
            else:
                yield part


class Printable(ABC):
    """What prints as tables and sentences: as text, on Rich's consoles, and in notebooks."""

    @abstractmethod
    def _make_document(self) -> Document:
        """Return what is printed."""

    def __str__(self) -> str:
        return str(self._make_document())

    def __rich__(self) -> Document:
        """Return what Rich prints at the width of its console."""
        return self._make_document()

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return self._make_document().to_html()


def _escape(text: str) -> str:
    return html.escape(show_controls(text))


def _fold(part: str | TextTable | Facts) -> RenderableType:
    """Return a part as Rich draws it; further lines of a sentence are set in as far as the first."""
    if not isinstance(part, str):
        return part
    text = show_controls(part.lstrip(" "))
    return Padding(Text(text, overflow="fold"), (0, 0, 0, len(part) - len(part.lstrip(" "))))


def _draw_lines(parts: Sequence[RenderableType], width: int) -> list[str]:
    """Return what Rich draws of some parts, without colors."""
    page = _Page()
    console = Console(
        file=page,
        width=width,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,  # a notebook would show it here
    )
    console.print(*parts, sep="\n")
    return [line.rstrip() for line in page.getvalue().splitlines()]


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
