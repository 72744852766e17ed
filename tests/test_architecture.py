"""Rules of ARCHITECTURE.md that no linter checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "fabricfit"
MOST_LINES = 400
LARGEST_SHARE = 0.15

PRIVATE = re.compile(
    r"\._(nodes_by_depth|inbound_nodes|outbound_nodes|keras_history|functional|flatten_layers|operations|keras_mask)\b"
)


def line_count(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs"])
def test_files_are_short(folder):
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := line_count(path)) > MOST_LINES
    }
    assert not long


def test_no_package_holds_much_of_the_code():
    sizes = {
        package.name: sum(map(line_count, package.rglob("*.py")))
        for package in SOURCE.iterdir()
        if package.is_dir()
    }
    total = sum(map(line_count, SOURCE.rglob("*.py")))
    assert {name: size for name, size in sizes.items() if size > LARGEST_SHARE * total} == {}


def test_only_the_network_package_knows_how_keras_records_a_graph():
    found = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] != "network"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PRIVATE.search(line)
    ]
    assert not found


def test_every_package_of_the_code_is_drawn_and_has_its_tests():
    drawing = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert {name for name in packages if f"{name}/" not in drawing} <= {"cli", "testing"}
    assert {name for name in packages if not (ROOT / "tests" / name).is_dir()} == set()


RETIRED = re.compile(
    r"\b(judg\w+|snap(s|ped|ping)?|tap(s|ped)|keepers?|gives? up|given up|stands? or falls?|now and then"
    r"|becomes? of (every|its|the|a) weights?)\b",
    re.IGNORECASE,
)
"""Words of ARCHITECTURE.md's glossary that have given way to others, where they can mean nothing else."""


def test_the_code_speaks_the_glossarys_language():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word[0]}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (word := RETIRED.search(line)) and "serve_old_names" not in line and '": "' not in line
    ]
    assert not found
