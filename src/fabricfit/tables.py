"""Tables as plain text."""

from __future__ import annotations

__all__ = ["columns", "text_table"]


def text_table(header: list[str], body: list[list[str]]) -> list[str]:
    """Return the lines of a table whose last row is its total; the first column is left-aligned."""
    lines = columns(header, body)
    rule = lines[1]
    return [*lines[:-1], rule, lines[-1]]


def columns(header: list[str], body: list[list[str]]) -> list[str]:
    """Return the lines of a table; its first and last columns are left-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i in (0, len(header) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *body)
    ]
    rule = "-" * max(map(len, lines))
    return [lines[0], rule, *lines[1:]]
