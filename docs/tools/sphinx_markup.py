"""Docstrings as Markdown: roles, formulas, literal blocks and simple tables of reStructuredText."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([\w.]+)`")
_TYPE = re.compile(r"^( *)(?!- )\S.*\n(?=\1 +\S)|^Returns\n-+\n.*\n", re.MULTILINE)
"""What stands for a type, which cannot hold links: above lines further in, and first under Returns."""
_MATH = re.compile(r"^( *)\.\. math::(.*)\n((?: *\n|\1 +.*\n?)*)", re.MULTILINE)
_TABLE = re.compile(r"^( *)(=+(?: +=+)+)\n.*?\n\1\2\n(?=\s*\n|\Z)", re.MULTILINE | re.DOTALL)
_LITERAL = re.compile(r"::$", re.MULTILINE)


class SphinxMarkup(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, obj)


def as_markdown(text: str, obj: griffe.Object) -> str:
    """Return a docstring whose reStructuredText is Markdown."""
    text = _TABLE.sub(lambda found: _table(found[1], found[0].splitlines()), text + "\n")
    text = _MATH.sub(_formula, text)
    text = _TYPE.sub(lambda found: _ROLE.sub(r"\2", found[0]), text)
    text = _ROLE.sub(lambda found: _reference(found[2], bool(found[1]), obj), text)
    text = text.replace("``", "`")
    return _LITERAL.sub(":", text).rstrip("\n")


def _table(indent: str, lines: list[str]) -> str:
    """Return a simple table as Markdown; a line whose first cell is empty goes on with the one before."""
    columns = [slice(*found.span()) for found in re.finditer("=+", lines[0])]
    columns[-1] = slice(columns[-1].start, None)
    rows: list[list[str]] = []
    for line in lines:
        cells = [line[column].strip() for column in columns]
        if not line.strip(" ="):
            continue
        if cells[0] or not rows:
            rows.append(cells)
        else:
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
    rows.insert(1, ["---"] * len(columns))
    return "".join(f"{indent}| {' | '.join(row)} |\n" for row in rows)


def _formula(found: re.Match[str]) -> str:
    body = " ".join(f"{found[2]}\n{found[3]}".split())
    return f"{found[1]}$$\n{found[1]}{body}\n{found[1]}$$\n\n"


def _reference(name: str, is_short: bool, obj: griffe.Object) -> str:
    try:
        target = name if name.startswith("fabricfit.") else obj.resolve(name)
    except griffe.NameResolutionError:
        target = name
    shown = name.rsplit(".", 1)[-1] if is_short else name
    return f'<autoref optional identifier="{target}"><code>{shown}</code></autoref>'
