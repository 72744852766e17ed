"""TOML, read at a bounded price, with the line that each value is on."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from fabricfit.reading.limits import DEPTH, DIGITS, check_values, refuse
from fabricfit.reading.yaml_text import Lines

__all__ = ["parse_toml"]

_TABLE = re.compile(r"^\s*\[([^\[\]]+)\]\s*(#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")
_QUOTED = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*+"|\'[^\'\n]*+\'|#[^\n]*+', re.DOTALL
)
_LONG_NAME = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{DEPTH}}}")
"""A name of so many parts; the price of reading it grows with the square of their number."""


def parse_toml(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """Return what TOML says, and the path of each value -> the line that it is on.

    Parameters
    ----------
    text
        The TOML.
    name
        What it is called in messages, such as its file.

    Raises
    ------
    InvalidInputError
        It is no TOML; it is too deep; or it holds a number or a text that cannot be
        worked with.
    """
    bare = _QUOTED.sub(lambda found: "" if found[0].startswith("#") else "q", text)
    if (found := _LONG_NAME.search(bare)) is not None:
        line = bare.count("\n", 0, found.start()) + 1
        raise refuse(name, "TOML", f"a name has more than {DEPTH} parts", line)
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise refuse(name, "TOML", f"lists and tables are more than {DEPTH} deep") from None
    except Exception as error:  # also of dates and integers that Python does not have
        said = _PLACE.sub("", str(error))
        if said.startswith("Exceeds the limit"):  # of Python, for texts of integers
            said = f"an integer has more than {DIGITS} digits"
        raise refuse(name, "TOML", said, _find_line(str(error), text)) from error
    check_values(values, name, "TOML")
    return values, _find_lines(text)


def _find_line(said: str, text: str) -> int | None:
    """Return the line that an error of the parser names."""
    found = _PLACE.search(said)
    if found is None:
        return None
    return int(found[1]) if found[1] else text.rstrip("\n").count("\n") + 1


def _find_lines(text: str) -> Lines:
    lines: Lines = {(): 1}
    table: tuple[str, ...] = ()
    for number, content in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(content):
            table = tuple(part.strip().strip("\"'") for part in found[1].split("."))
            lines.setdefault(table, number)
        elif found := _KEY.match(content):
            keys = tuple(part.strip("\"'") for part in found[1].split("."))
            lines.setdefault((*table, *keys), number)
    return lines
