"""Functions and plugins of the user's may do anything, but not end the command or its output."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from fabricfit.cli import main
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

FUNCTIONS = {
    "exits": ("import sys\ndef f(): sys.exit(0)", "ends the process"),
    "exits when imported": ("import sys\nsys.exit(0)", "ends the process"),
    "raises": ("def f(): raise KeyError('secret')", "KeyError: 'secret'"),
    "raises when imported": ("raise RuntimeError('<b>x</b>')", "RuntimeError: <b>x</b>"),
    "is no Python": ("def f(", "SyntaxError"),
    "wants arguments": ("def f(x): return x", "TypeError"),
    "gives nothing": ("def f(): pass", "must give inputs and targets"),
    "gives numbers": ("def f(): return 1, 2, 3", "must give arrays.*Received: int"),
    "gives a generator": ("def f(): return (i for i in range(3))", "must give inputs and targets"),
    "gives names only": ("def f(): return {}", "must give inputs and targets"),
    "is none": ("f = 5", "has no function 'f'"),
    "raises without a word": (
        "class E(BaseException): pass\ndef f(): raise E",
        "gives no samples: E",
    ),
}


@pytest.fixture
def module(monkeypatch):
    """The name of a module that is forgotten afterwards."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield "data_of_mine"
    sys.modules.pop("data_of_mine", None)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_a_function_does_is_said_to_be_the_users(refused, module, kind):
    code, said = FUNCTIONS[kind]
    Path(f"{module}.py").write_text(code)
    words = ["model.keras", "--data", f"{module}:f", "--dsp", 50, "--output", "o", "--quiet"]
    message = refused("optimize", *words)
    assert module in message
    assert re.search(said, message), message
    if "imported" in kind or "Python" in kind:
        assert "a plugin" in refused("estimate", "model.keras", "--plugin", module)


@pytest.mark.parametrize(
    "name", ["os:abort", "os:_exit", "sys:exit", "builtins:input", "time:time"]
)
def test_functions_of_python_itself_are_not_called(refused, name):
    said = refused("optimize", "model.keras", "--data", name, "--dsp", 50, "--quiet")
    assert "of Python's own" in said


def test_what_a_function_prints_is_not_the_output(job, module, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    code = f"""import numpy as np
print("imported")
def f():
    print("called")
    held = np.load({str(job.folder / "data.npz")!r})
    return held["X"], held["y"]
"""
    Path(f"{module}.py").write_text(code)
    words = ["verify", str(job.model), "--data", f"{module}:f", "--counts-only", "--json"]
    main(words)
    out, err = capfd.readouterr()
    assert json.loads(out) and "imported" in err and "called" in err


def test_pipes_devices_and_odd_paths_are_refused_at_once(refused):
    os.mkfifo("pipe.npz")
    os.mkfifo("pipe.yaml")
    os.mkfifo("pipe.keras")
    Path("loop.npz").symlink_to("loop.npz")
    Path("arrays").mkdir()
    os.mkfifo("arrays/X.npy")
    os.mkfifo("arrays/y.npy")
    budget = ["--dsp", 50, "--quiet"]
    for name in ("pipe.npz", "loop.npz", "arrays", "x" * 300 + ".npz", "a\0b.npz"):
        refused("optimize", "model.keras", "--data", name, *budget)
    for name in ("pipe.keras", "/dev/zero", "x" * 5000, "a\0b"):
        refused("estimate", name)
    refused("estimate", "model.keras", "--hls-config", "pipe.yaml")
    refused("optimize", "pipe.yaml", "--quiet")
    assert "--output" in refused("optimize", "run.yaml", "--output", "", "--quiet")
    refused("reduce", "model.keras", "z" * 300 + ".keras")
    refused("verify", "model.keras", "--samples", 10**14, "--counts-only")


def test_errors_are_short_and_hold_no_control_characters(refused):
    Path("run.yaml").write_text("\n".join(f"nonsense{n}: 1" for n in range(5000)))
    assert "more errors" in refused("optimize", "run.yaml", "--quiet")
    Path("run.yaml").write_text('model: "\\e[2J' + "x" * 50_000 + '"\ndata: {source: d.npz}\n')
    said = refused("optimize", "run.yaml", "--dsp", 5, "--quiet")
    assert len(said) < 6000 and "\x1b" not in said
    assert "\x1b" not in refused("estimate", "a\x1b[31m.keras")
