"""What belongs to a release says the same version, and can be read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fabricfit import __version__

ROOT = Path(__file__).parents[2]


def test_files_say_the_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[([^]]+)\]", changes, re.MULTILINE)[1] in (__version__, "Unreleased")
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", cited, re.MULTILINE)[1] == __version__


def test_files_of_the_repository_can_be_read():
    yaml = pytest.importorskip("yaml")
    paths = [*(ROOT / ".github").glob("**/*.yml"), ROOT / "CITATION.cff"]
    assert len(paths) >= 7
    read = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    # YAML 1.1 reads the key "on" as true.
    assert read["release.yml"][True]["push"]["tags"] == ["v*"]
    steps = read["release.yml"]["jobs"]["publish"]
    assert steps["permissions"] == {"id-token": "write"} and "checks" in steps["needs"]


def test_links_of_the_project_lead_to_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"Documentation", "Repository", "Issues", "Changelog"} <= set(project["urls"])
    assert all("fabricfit" in url for url in project["urls"].values())
