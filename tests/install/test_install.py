"""The wheel, installed as the README says into an empty environment, runs what the pages show.

The environment variable ``INSTALL_WITH`` names the interpreter; that of the tests by default.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.docs.blocks import blocks_of, commands_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCKS = ROOT / "tests" / "docs" / "blocks.py"
INSTALL = re.compile(r"pip install '(fabricfit\[[\w,]+\])'")
PAGES = [
    page
    for page in sorted((ROOT / "docs").glob("**/*.md"))
    if blocks_of(page) and "decisions" not in page.parts
]

TIMED = """
import runpy, sys, time
began = time.monotonic()
import fabricfit
def timed(name):
    function = getattr(fabricfit, name)
    def call(*args, **options):
        result = function(*args, **options)
        print(f"timed: {name} {time.monotonic() - began:.0f}", file=sys.stderr)
        return result
    setattr(fabricfit, name, call)
timed("estimate")
timed("fit")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a page and tells seconds to the end of each estimate and each fit."""


def run(words, folder, codes=(0,), **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    environment |= options.pop("environment", {})
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800,
        check=False, **options,
    )  # fmt: skip
    assert done.returncode in codes, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """An environment with nothing but the wheel and what the README's line brings."""
    folder = tmp_path_factory.mktemp("install")
    interpreter = os.environ.get("INSTALL_WITH", sys.executable)
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([interpreter, *pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("fabricfit-*.whl")
    began = time.monotonic()
    subprocess.run([interpreter, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv" / "bin"
    wanted = INSTALL.search(README.read_text(encoding="utf-8"))[1].replace("fabricfit", str(wheel))
    subprocess.run([programs / "python", *pip, "install", wanted], check=True)
    seconds = time.monotonic() - began
    work = folder / "work"
    work.mkdir()
    return SimpleNamespace(
        python=programs / "python", programs=programs, work=work, seconds=seconds
    )


def test_it_is_the_wheel_that_runs(installed):
    told = run(
        [installed.python, "-c", "import fabricfit; print(fabricfit.__file__)"], installed.work
    )
    assert str(installed.programs.parent) in told.stdout


def test_the_readme_runs_with_nothing_else(installed, record_property):
    done = run([installed.python, "-c", TIMED, BLOCKS, README], installed.work)
    times = dict(re.findall(r"timed: (\w+) (\d+)", "\n".join(reversed(done.stderr.splitlines()))))
    assert set(times) == {"estimate", "fit"}  # the first of each
    sys.stdout.write(f"seconds: installed {installed.seconds:.0f}, then {times}\n")
    record_property("seconds", {"install": round(installed.seconds), **times})

    commands = commands_of(README, installed.work)
    assert len(commands) >= 6
    here = {"PATH": f"{installed.programs}{os.pathsep}{os.environ['PATH']}"}
    for words, codes in commands:
        began = time.monotonic()
        run([installed.programs / "fabricfit", *words], installed.work, codes, environment=here)
        sys.stdout.write(f"{time.monotonic() - began:.0f} s: {' '.join(words)}\n")
    assert (installed.work / "fitted" / "run-0001" / "report.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_of_the_site_runs(installed, page, tmp_path):
    run([installed.python, BLOCKS, page], tmp_path)


@pytest.mark.parametrize(
    ("form", "data"),
    [("keras", "arrays"), ("h5", "arrays"), ("object", "tf.data"), ("object", "arrays")],
)
def test_the_five_lines_run_as_they_stand(installed, form, data, tmp_path):
    front, script = ROOT / "docs" / "index.md", Path(__file__).with_name("five_lines.py")
    run([installed.python, script, front, form, data], tmp_path)
