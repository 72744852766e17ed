"""Every name of fabricfit that a page, a docstring or a message mentions exists."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"(?<![\w./-])fabricfit(?:\.[A-Za-z_]\w*+)++(?!\{)")
FILES = {"fabricfit.schema.json", "fabricfit.md"}
"""Names of files that look like names of modules."""
BACKENDS = {"hgq": "hgq", "qkeras": "qkeras"}
"""Modules that can be imported only where their package is installed."""

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SOURCES = sorted((ROOT / "src").glob("**/*.py"))


def names_in(path: Path) -> dict[str, int]:
    """Return the names in a file, each with the first line that it is on."""
    found: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for name in NAME.findall(line):
            found.setdefault(name, number)
    return {name: line for name, line in found.items() if name not in FILES}


def resolve(name: str) -> Any:
    """Return the object that a dotted name stands for: a module, or what its longest module has."""
    parts = name.split(".")
    for number in range(len(parts), 0, -1):
        module = ".".join(parts[:number])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("fabricfit"):
                raise
        else:
            return functools.reduce(getattr, parts[number:], found)
    raise ModuleNotFoundError(name)


def exists(name: str) -> bool:
    try:
        resolve(name)
    except (ImportError, AttributeError) as error:
        needs = getattr(error, "name", None)
        return needs in BACKENDS and importlib.util.find_spec(needs) is None
    return True


@pytest.mark.parametrize("folder", ["pages", "sources"])
def test_every_name_exists(folder):
    files = PAGES if folder == "pages" else SOURCES
    missing = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in files
        for name, line in names_in(path).items()
        if not exists(name)
    ]
    assert not missing, "\n".join(missing)


def test_names_are_found_and_checked(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("x\nCall `fabricfit.fit`, not fabricfit.fitt; see fabricfit.schema.json.\n")
    found = names_in(page)
    assert found == {"fabricfit.fit": 2, "fabricfit.fitt": 2}
    assert exists("fabricfit.fit") and not exists("fabricfit.fitt")
    assert exists("fabricfit.reporting.FinishedRun.read") and not exists("fabricfit.nothing.fit")
