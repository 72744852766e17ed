"""Nested values of YAML and TOML files, with the line that each is on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from fabricfit.errors import InvalidInputError

__all__ = ["read_nested"]


def read_nested(path: Path) -> tuple[Any, dict[tuple[Any, ...], int]]:
    """Read a ``.yaml``, ``.yml`` or ``.toml`` file.

    Returns
    -------
    tuple
        The values, and the path of each value -> the line that it is on.

    Raises
    ------
    InvalidInputError
        It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    return (_from_toml if path.suffix == ".toml" else _from_yaml)(text, path)


def _from_yaml(text: str, path: Path) -> tuple[Any, dict[tuple[Any, ...], int]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InvalidInputError(f"{where}: not valid YAML: {problem}") from error
    lines: dict[tuple[Any, ...], int] = {}
    _collect_lines(node, (), lines)
    return values, lines


def _collect_lines(node: Any, place: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> None:
    if node is None or len(place) > 20:
        return
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, key.value)
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*place, index), lines)


_TABLE = re.compile(r"^\s*\[([^\[\]]+)\]\s*(#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")


def _from_toml(text: str, path: Path) -> tuple[Any, dict[tuple[Any, ...], int]]:
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{path}, line {line[1]}" if line else str(path)
        raise InvalidInputError(f"{where}: not valid TOML: {error}") from error
    lines: dict[tuple[Any, ...], int] = {(): 1}
    table: tuple[str, ...] = ()
    for number, content in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(content):
            table = tuple(part.strip().strip("\"'") for part in found[1].split("."))
            lines.setdefault(table, number)
        elif found := _KEY.match(content):
            keys = tuple(part.strip("\"'") for part in found[1].split("."))
            lines.setdefault((*table, *keys), number)
    return values, lines
