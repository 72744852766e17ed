"""Notebooks hold what they print, without a trace of the machine, and run from top to bottom."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.marks import ON_ONE_BACKEND

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NEEDS = {
    "cnn": [*ON_ONE_BACKEND, pytest.mark.slow],
    "gallery": [*ON_ONE_BACKEND, pytest.mark.slow],
    "hgq2": [pytest.mark.hgq, pytest.mark.slow],
    "old-script": [*ON_ONE_BACKEND, pytest.mark.slow],
    "qkeras": [pytest.mark.qkeras, pytest.mark.slow],
    "rtl": [*ON_ONE_BACKEND, pytest.mark.slow],
    "sweep": [*ON_ONE_BACKEND, pytest.mark.slow],
}
"""Marks of those that are run; the tutorial's code is that of its page, which is."""

RUNNER = """
import json, sys
SHOWN = "from IPython.display import Image"  # what shows pictures, in a notebook only
READ = "Image = lambda path: open(path, 'rb').read(8)"
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        code = "".join(cell["source"]).replace(SHOWN, READ)
        exec(compile(code, f"cell {number}", "exec"), names)
"""
MACHINE = re.compile(r"/(?:root|home|tmp|work|usr|Users|private)/|/site-packages/|ap_types/")


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_all_notebooks_are_tested():
    assert {path.stem for path in NOTEBOOKS} == {*NEEDS, "tutorial"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_what_it_printed(path):
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    texts = [output.get("text", "") for output in outputs]
    for output in outputs:
        texts += [each for kind, each in output.get("data", {}).items() if "text" in kind]
    for text in texts:
        assert not MACHINE.search("".join(text)), "".join(text)[:500]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path):
    prose = ["".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "markdown"]
    links = re.findall(r"\]\((?!https?:|attachment:)([^)#]+)(?:#[^)]*)?\)", "\n".join(prose))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in NEEDS.items()])
def test_a_notebook_runs(name, tmp_path):
    if name == "rtl" and not (shutil.which("iverilog") and shutil.which("yosys")):
        pytest.skip("needs iverilog and yosys")
    if name == "cnn":
        pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(ROOT / "docs" / "notebooks" / f"{name}.ipynb")],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
