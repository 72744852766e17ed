"""Every Python block in the documentation runs, page by page, from top to bottom."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of, commands_of, run_blocks
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs"
ON_TENSORFLOW = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
EVERYWHERE = [page for page in [*ROOT.glob("*.md"), SITE / "hardware.md"] if blocks_of(page)]
"""Pages that are run with each backend."""

PAGES = [
    page
    for page in sorted(SITE.glob("**/*.md"))
    if blocks_of(page) and page not in EVERYWHERE and "decisions" not in page.parts
]
"""Pages of the site: each in a process of its own, since it may register layers, devices and names."""


def relative(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", EVERYWHERE, ids=relative)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(page)
    if page.name == "README.md" and ON_TENSORFLOW:
        for words, codes in commands_of(page, tmp_path):
            done = subprocess.run(
                [sys.executable, "-m", "fabricfit", *words],
                cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode in codes, f"{words}\n{done.stderr[-4000:]}"


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the site's pages are run on one backend")
@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_of_the_site_runs(page, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("blocks.py")), str(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_there_are_pages():
    assert ROOT / "README.md" in EVERYWHERE
    guides = {page.name for page in PAGES if page.parent.name == "howto"}
    assert guides == {
        "backends.md",
        "board.md",
        "calibrate.md",
        "callbacks.md",
        "explore.md",
        "layer.md",
        "load.md",
        "migrate.md",
        "objective.md",
        "own-loop.md",
        "reports.md",
        "resume.md",
        "rtl.md",
        "tasks.md",
        "trained-precision.md",
    }
    assert SITE / "index.md" in PAGES and SITE / "tutorial.md" in PAGES


def test_configurations_can_be_read(tmp_path):
    yaml = pytest.importorskip("yaml")
    from fabricfit.cli.configuration import parse, read_config

    text = (SITE / "howto" / "command-line.md").read_text(encoding="utf-8")
    found = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    whole = [block for block in found if re.search(r"^model:", block, re.MULTILINE)]
    for number, block in enumerate(whole):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        read_config(path)
    parts = [part for block in found if block not in whole for part in yaml.safe_load_all(block)]
    for part in parts:
        aim = {} if {"budget", "objective"} & part.keys() else {"objective": "parameters"}
        parse({"model": "tagger.keras", "data": {"source": "jets.npz"}, **aim, **part})
    assert len(whole) == 2 and len(parts) == 3


def test_exit_codes_are_those_of_the_command():
    pytest.importorskip("typer")
    from fabricfit.cli.app import EXIT_CODES

    text = (SITE / "howto" / "command-line.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\d+) \| ([^|]*?) \|$", text, re.MULTILINE))
    assert list(map(int, told)) == list(EXIT_CODES)
    assert all(told[str(code)].startswith(meaning) for code, meaning in EXIT_CODES.items())


def test_the_notebook_is_the_tutorial():
    notebook = json.loads((SITE / "notebooks" / "tutorial.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = ["".join(cell["source"]) for cell in cells]
    assert code == [block.strip() for _, block in blocks_of(SITE / "tutorial.md")]
    assert all(cell["execution_count"] for cell in cells)
    assert not any(out["output_type"] == "error" for cell in cells for out in cell["outputs"])
