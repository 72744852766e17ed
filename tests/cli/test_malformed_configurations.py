"""Invalid configurations and commands: refused with exit code 2, a message, no traceback, no changed file."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.cli import main
from tests.cli.test_malformed_files import DATA, MODELS
from tests.cli.test_malformed_runs import DAMAGE, FILES
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

WRONG = [
    None,
    True,
    -1,
    0,
    1.5,
    "x",
    "",
    [],
    {},
    [1],
    {"a": 1},
    float("nan"),
    float("inf"),
    10**400,
    "1e999",
]
PLACES = {
    ("model",): [-1, True, [], {}, None, 0, "missing.keras", "", ".", "data.npz", "run.yaml"],
    ("data",): [None, True, 1, "data.npz", [], {}, [1]],
    ("data", "source"): [
        None, 1, [], {}, "missing.npz", "", ".", "model.keras", "run.yaml", "no_module:f", "os:nothing",
    ],
    ("data", "inputs"): [1, {}, "nothing", True],
    ("data", "targets"): [1, {}, "nothing", None, True],
    ("data", "validation"): [1, [], "missing.npz", "", "run.yaml"],
    ("data", "validation_fraction"): [None, 0, 1, -0.5, 2, "x", [], float("nan"), 1e-9, 0.99999],
    ("budget",): [True, 1, "pynq-z2", [], {}, [1], {"device": None}],
    ("budget", "relative"): [
        True, 1, "x", [], {"dsp": -1}, {"dsp": 2}, {"cpu": 0.5}, {"dsp": "x"}, {"dsp": None},
    ],
    ("budget", "device"): [1, [], {}, "pynq-z99", "", True],
    ("budget", "dsp"): [-1, "x", [], float("nan"), float("inf"), True and {"a": 1}],
    ("budget", "fraction"): [0, -1, 2, "x", []],
    ("budget", "family"): [1, [], "spartan-z"],
    ("budget", "latency"): [0, "soon", [], True, 10**400],
    ("budget", "clock"): ["200MHx", -5],
    ("training",): [True, 1, "x", [], [1]],
    ("training", "batch_size"): WRONG[1:],
    ("training", "epochs"): WRONG[1:],
    ("training", "optimizer"): [1, [], {}, "adamant", ""],
    ("training", "learning_rate"): [0, -1, "x", [], float("nan"), float("inf")],
    ("training", "loss"): [1, [], {}, "loss", ""],
    ("training", "metric"): [1, [], {}, "metric", ""],
    ("training", "increasing"): ["x", 2, [], {}],
    ("training", "rtol"): [0, -1, "x", [], float("nan"), float("inf")],
    ("training", "ranking_metric"): [1, [], "l7", ""],
    ("training", "tuner"): [1, [], "halves", "", True],
    ("training", "seed"): [-1, 1.5, "x", [], None],
    ("training", "patience"): [0, -1, 1.5, "x", []],
    ("training", "trials"): [0, -1, "x", None],
    ("training", "regularization_range"): ["x", [-1], ["x"], {}, [float("nan")]],
    ("training", "distillation"): [1, -0.1, "x", None],
    ("training", "nonsense"): [1],
    ("levels", "schedule"): [1, [], "cubic", "", None],
    ("levels", "steps"): [0, -1, 1.5, "x", None],
    ("levels", "final"): [2, -1, "x", None],
    ("levels", "initial"): [2, -1, "x", None],
    ("hls4ml",): [1, [], "missing.json", "data.npz", True, {"Model": 1}, {"Model": {"Strategy": "Fastest"}}],
    ("plugins",): [1, "x", {}, ["no_such_module"], [1]],
    ("directory",): [1, [], {}, "data.npz"],
    ("objective",): ["watts", 1, "parameters"],
    ("nonsense",): [1, None, "x"],
}  # fmt: skip


def _cases():
    for place, values in PLACES.items():
        for number, value in enumerate(values):
            yield pytest.param(place, value, id=f"{'.'.join(place)}-{number}")


@pytest.mark.parametrize(("place", "value"), _cases())
def test_a_wrong_value_is_named_with_its_line(job, refused, place, value):
    values = copy.deepcopy(job.values)
    if place[:1] == ("budget",) and len(place) > 1 and place[1] not in ("relative", "fraction"):
        values["budget"] = {} if place[1] != "family" else values["budget"]
    section = values
    for part in place[:-1]:
        section = section.setdefault(part, {})
    section[place[-1]] = value
    Path("wrong.yaml").write_text(yaml.safe_dump(values))
    output = [] if place == ("directory",) else ["--output", "nowhere"]
    said = refused("optimize", "wrong.yaml", *output, "--quiet", codes=(2, 3))
    assert not Path("nowhere").exists()
    if place[-1] == "nonsense":
        assert "line" in said and "no such setting" in said


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "just words", "- 1\n- 2", "model: [", "model: 'x", "{", "a: b: c", "\tmodel: x", "42",
        "model: &a [*a]", "!!python/object/apply:os.system ['true']", "model: !!binary x", "? ", "%YAML 9",
        "model: model.keras", "data: {source: data.npz}", "---\na: 1\n---\nb: 2", "\x00", "model: \ud83d",
        "[" * 5000, "a: " * 300, "model: {<<: 1}", "date: 2026-13-45",
    ],
    ids=range(24),
)  # fmt: skip
def test_text_that_is_no_configuration_is_refused(refused, text):
    Path("wrong.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    refused("optimize", "wrong.yaml", "--quiet")


@pytest.mark.parametrize(
    "text",
    ["", "model", "model = ", "[data", "model = 'x'\nmodel = 'y'", "a = 1\n[a]\nb = 2", "\x00"],
    ids=range(7),
)  # fmt: skip
def test_text_that_is_no_toml_is_refused(refused, text):
    Path("wrong.toml").write_text(text)
    refused("optimize", "wrong.toml", "--quiet")


def test_bytes_that_are_no_text_are_refused(refused):
    Path("wrong.yaml").write_bytes(b"\xff\xfe\x00model")
    refused("optimize", "wrong.yaml", "--quiet")
    Path("wrong.yaml").unlink()
    Path("folder.yaml").mkdir()
    refused("optimize", "folder.yaml", "--quiet")


def test_the_line_is_that_of_the_value(job, refused):
    Path("wrong.yaml").write_text(
        "model: model.keras\ndata:\n  source: data.npz\nbudget:\n  dsp: 5\ntraining:\n  epochs: many\n"
    )
    assert "line 7" in refused("optimize", "wrong.yaml", "--quiet")
    Path("wrong.toml").write_text('model = "m"\n[data]\nsource = "d"\n[budget]\ndsp = "few"\n')
    assert "line 5" in refused("optimize", "wrong.toml", "--quiet")


COMMANDS = [
    ["nonsense"], ["optimize"], ["estimate"], ["reduce", "model.keras"], ["optimize", "model.keras"],
    ["optimize", "model.keras", "--data", "data.npz"], ["optimize", "run.yaml", "--epochs", "many"],
    ["optimize", "run.yaml", "--epochs", "-1"], ["optimize", "run.yaml", "--nonsense"],
    ["optimize", "run.yaml", "--fraction", "0.5"], ["optimize", "run.yaml", "--device", "nothing"],
    ["optimize", "run.yaml", "--device", "pynq-z2", "--dsp", "5"], ["optimize", "run.yaml", "--dsp", "nan"],
    ["optimize", "run.yaml", "--rtol", "0"], ["optimize", "run.yaml", "--loss", "nothing"],
    ["optimize", "run.yaml", "--metric", "nothing"], ["optimize", "run.yaml", "--batch-size", "0"],
    ["optimize", "run.yaml", "--seed", "-1"], ["optimize", "run.yaml", "--plugin", "no_such_module"],
    ["optimize", "run.yaml", "--hls-config", "missing.json"],
    ["optimize", "run.yaml", "--output", "data.npz"],
    ["optimize", "data.npz"], ["optimize", "missing.yaml"],
    ["estimate", "model.keras", "--device", "nothing"],
    ["estimate", "model.keras", "--fraction", "2", "--device", "pynq-z2"],
    ["estimate", "model.keras", "--hls-config", "data.npz"],
    ["estimate", "model.keras", "--hls-config", "run.yaml"], ["reduce", "model.keras", "out.h5"],
    ["reduce", "model.keras", "nowhere/out.keras"], ["reduce", "model.keras", "model.keras"],
    ["verify", "model.keras", "--backend", "Nothing", "--counts-only"], ["verify", "missing.keras"],
    ["verify", "model.keras", "--samples", "0", "--counts-only"],
    ["verify", "model.keras", "--data", "missing.npz"],
    ["devices", "nothing"], ["report"], ["resume"], ["report", ".", "--output", "page.pdf"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words))
def test_commands_that_make_no_sense_are_refused(refused, words):
    pytest.importorskip("hls4ml")
    refused(*words)


def test_machines_are_told_errors_too(refused, capfd):
    assert main(["estimate", "missing.keras", "--json"]) == 2
    found = json.loads(capfd.readouterr().out)
    assert found["exit_code"] == 2 and "missing.keras" in found["error"]


def test_there_are_enough_of_them():
    count = sum(map(len, PLACES.values())) + len(DATA) + 3 * len(MODELS) + len(COMMANDS)
    assert count + len(FILES) * len(DAMAGE) + 24 + 7 >= 200


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_changed_configurations_never_end_in_a_traceback(job, tmp_path_factory, seed):
    draw = random.Random(seed)
    text = bytearray((job.folder / "run.yaml").read_bytes())
    for _ in range(draw.randint(1, 12)):
        place = draw.randrange(len(text))
        if draw.random() < 0.4:
            text[place] = draw.randrange(256)
        elif draw.random() < 0.5:
            del text[place]
        else:
            text[place:place] = draw.choice(
                [b"\n", b": ", b"- ", b"{", b"[", b"'", b"\t", b"null", b"&a", b"*a"]
            )
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "run.yaml").write_bytes(text)  # whatever it says, there are no model and no data here
    assert main(["optimize", str(folder / "run.yaml"), "--quiet"]) in (2, 3)
    assert [path.name for path in folder.iterdir()] == ["run.yaml"]
