"""What is wrong with a command is said before a backend is imported, in the words of its options."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

SLOW = ("keras", "tensorflow", "jax", "torch", "matplotlib", "pandas", "scipy.optimize", "hls4ml")
"""Packages that take long to import."""

BOARD = ("--device", "pynq-z2")
RUN = ("optimize", "model.keras", "--data", "data.npz")
REFUSED = [
    (("nonsense",), "nonsense"),
    (("estimate", "model.keras", "--devise", "x"), "--devise"),
    (("estimate", "missing.keras"), "no model at missing.keras"),
    (("estimate", "text.txt"), "must be a .keras or .h5 file"),
    (("estimate", "net.json", "--weights", "missing.h5"), "no weights at missing.h5"),
    (("estimate", "model.keras", "--device", "pynk-z2"), "--device must be .* 'PYNQ-Z2'"),
    (
        ("estimate", "model.keras", *BOARD, "--latency", "soon"),
        "--latency must .* Received: 'soon'",
    ),
    (("estimate", "model.keras", "--clock", "soon"), "--clock must be a frequency"),
    (("estimate", "model.keras", "--tool", "vitus"), "--tool must be one of"),
    (("estimate", "model.keras", "--binding", "x"), "--binding must be one of"),
    (("estimate", "model.keras", *BOARD, "--device", "zcu102"), "--device must be given once"),
    (("estimate", "model.keras", "--fraction", "0.5"), "--fraction needs a --device"),
    (("estimate", "model.keras", "--hls-config", "missing.yml"), "--hls-config: .* 'missing.yml'"),
    (("explore", "model.keras"), "a budget is needed: a --device, or amounts"),
    (("explore", "model.keras", "--latency", "1us"), "a budget is needed"),
    ((*RUN, "--latency", "1us"), "a budget is needed"),
    (("estimate", "model.keras", "--latency", "1us", "--margin", "2"), "--margin must be"),
    (("explore", "model.keras", *BOARD, "--dsp", "5"), "a --device or amounts .*not both"),
    (("explore", "model.keras", "--dsp", "nan"), "--dsp: .*finite"),
    (
        ("explore", "model.keras", "--dsp", "5", "--margin", "2"),
        "--margin: .*less than or equal to 1",
    ),
    (("explore", "model.keras", *BOARD, "--data", "missing.npz"), "--data: .*missing.npz"),
    (("explore", "model.keras", *BOARD, "--output", "data.npz"), "must be a .json file"),
    ((*RUN,), "a budget is needed"),
    ((*RUN, *BOARD, "--inputs", "jets"), "--data: .*'jets' and 'y'.*--inputs and --targets"),
    ((*RUN, *BOARD, "--inputs", "a=X", "--inputs", "b"), "--inputs must be names of arrays"),
    ((*RUN, *BOARD, "--precision", "taken"), "--precision: .*'given', 'trained' or 'chosen'"),
    ((*RUN, *BOARD, "--epochs", "0"), "--epochs: .*greater than or equal to 1"),
    ((*RUN[:2], *BOARD), "--data is missing"),
    (("optimize", "run.yaml"), "run.yaml, line 4: trainin: there is no such setting"),
    (("optimize", "missing.yaml"), "missing.yaml cannot be read"),
    (("calibrate", "model.keras"), "--data is missing"),
    (
        ("calibrate", "model.keras", "--data", "data.npz", "--metric", "mse"),
        "--metric needs --loss",
    ),
    (("verify", "model.keras", "--metric", "mse"), "--metric needs --data"),
    (("verify", "model.keras", "--samples", "0"), "--samples"),
    (("resume", "."), "holds no config.yaml"),
    (("report", "."), "is not the folder of a run"),
    (("devices", "nothing"), "no device has 'nothing' in its name"),
]
ANSWERED = [("--version",), ("--help",), ("optimize", "--help"), ("devices",), ("schema",)]

SCRIPT = """
import contextlib, io, json, sys
from fabricfit.cli import main
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main(words)
    loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    print(json.dumps([code, " ".join(said.getvalue().split()), loaded]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that look right from the outside."""
    place = tmp_path_factory.mktemp("files")
    with zipfile.ZipFile(place / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    np.savez(place / "data.npz", X=np.zeros((8, 4)), y=np.zeros(8))
    (place / "text.txt").write_text("just words")
    (place / "net.json").write_text("{}")
    (place / "run.yaml").write_text(
        "model: model.keras\ndata: {source: data.npz}\nbudget: {dsp: 5}\ntrainin: {epochs: 5}\n"
    )
    return place


@pytest.fixture(scope="module")
def answers(folder):
    """Exit code, words and slow packages of each command, all in one process."""
    words = [list(each) for each, _ in REFUSED] + [list(each) for each in ANSWERED]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words), json.dumps(SLOW)],
        cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip((" ".join(each) for each in words), found, strict=True))


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=lambda each: " ".join(each)[:60])
def test_what_is_wrong_is_said_without_a_backend(answers, words, said):
    code, text, loaded = answers[" ".join(words)]
    assert code == 2 and re.search(said, text), text
    assert not loaded


@pytest.mark.parametrize("words", ANSWERED, ids=" ".join)
def test_what_needs_no_model_needs_no_backend(answers, words):
    code, text, loaded = answers[" ".join(words)]
    assert code == 0 and text
    assert not loaded


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("estimate model.keras --device pynq", {"pynq-z1", "pynq-z2"}),
        ("estimate model.keras --part xc7z020", {"xc7z020"}),
        ("estimate model.keras --tool vitis", {"vitis-2021.1", "vitis-2024.1"}),
        ("explore model.keras --binding f", {"fabric"}),
        ("optimize model.keras --precision ", {"given", "trained", "chosen"}),
        ("optimize model.keras --granularity c", {"channel"}),
        ("calibrate model.keras --overflow ", {"saturate", "wrap"}),
        ("verify model.keras --backend Viv", {"Vivado", "VivadoAccelerator"}),
        ("devices zcu", {"zcu102", "zcu104"}),
        ("es", {"estimate"}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_shells_are_offered_what_there_is(words, offered, capfd, monkeypatch):
    from fabricfit.cli import main

    monkeypatch.setenv("_FABRICFIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"fabricfit {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert not ended.value.code
    found = set(capfd.readouterr().out.splitlines())
    assert offered <= found if words.startswith("devices") else found == offered


def test_without_a_backend_a_command_says_what_to_install(folder):
    script = f"""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {SLOW!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Nowhere())
        from fabricfit.cli import main
        sys.exit(main(["estimate", "model.keras"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "'keras' is not installed" in done.stderr and "'fabricfit[tensorflow]'" in done.stderr


def test_amounts_of_every_resource_are_options():
    from fabricfit.cli.groups import AMOUNTS, BudgetOptions
    from fabricfit.cli.sections import BudgetConfig
    from fabricfit.hardware.resource_records import amount_names

    assert set(AMOUNTS) == set(amount_names())
    options = set(vars(BudgetOptions()))
    assert options == set(BudgetConfig.model_fields) - {"relative", "family", "clock_ns", "stage"}
