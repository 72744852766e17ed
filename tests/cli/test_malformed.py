"""Input that cannot be worked with: told clearly, with exit code 2, no traceback and no file changed."""

from __future__ import annotations

import copy
import json
import random
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fabricfit.cli import main
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def refused(job, tmp_path, monkeypatch, capfd):
    """Run a command in a copy of the job's folder; check how it ends, and return what it said."""
    folder = tmp_path / "job"
    shutil.copytree(job.folder, folder, ignore=shutil.ignore_patterns("runs"))
    monkeypatch.chdir(folder)

    def run(*words, codes=(2,)):
        before = contents(folder)
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        said = err.replace("\n", " ")
        assert code in codes, (code, words, said)
        assert "Traceback" not in err + out
        assert "error:" in err and len(said.strip()) > 15, err
        assert contents(folder) == before
        return said

    run.folder = folder
    return run


# --- configurations -----------------------------------------------------------------------------------------

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
    ("training",): [True, 1, "x", [], [1]],
    ("training", "batch_size"): WRONG,
    ("training", "epochs"): [*WRONG, 1],
    ("training", "optimizer"): [1, [], {}, "adamant", "", None],
    ("training", "learning_rate"): [0, -1, "x", [], float("nan"), float("inf")],
    ("training", "loss"): [1, [], {}, "loss", "", None],
    ("training", "metric"): [1, [], {}, "metric", "", None],
    ("training", "increasing"): ["x", 2, [], None, {}],
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


# --- data ---------------------------------------------------------------------------------------------------


def _npz(**arrays):
    return lambda path: np.savez(path, **arrays)


X, Y = np.zeros((20, 8), "float32"), np.arange(20) % 3
DATA = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("X, y"),
    "torn": lambda path: (np.savez(path, X=X, y=Y), path.write_bytes(path.read_bytes()[:-60])),
    "nothing in it": _npz(),
    "no targets": _npz(X=X),
    "no inputs": _npz(y=Y),
    "other names": _npz(a=X, b=Y),
    "objects": _npz(X=np.array([object()] * 3), y=np.zeros(3)),
    "texts": _npz(X=np.array([["a"] * 8] * 20), y=Y),
    "complex": _npz(X=X.astype(complex), y=Y),
    "a number": _npz(X=np.float32(1), y=Y),
    "no samples": _npz(X=X[:0], y=Y[:0]),
    "one sample": _npz(X=X[:1], y=Y[:1]),
    "unequal": _npz(X=X, y=Y[:-1]),
    "too few features": _npz(X=X[:, :5], y=Y),
    "too many axes": _npz(X=X[:, :, None], y=Y),
    "NaN": _npz(X=np.full_like(X, np.nan), y=Y),
    "infinite": _npz(X=np.full_like(X, np.inf), y=Y),
    "classes too high": _npz(X=X, y=Y + 5),
    "classes negative": _npz(X=X, y=Y - 5),
    "targets of a wrong shape": _npz(X=X, y=np.zeros((20, 4, 2))),
    "a single array": lambda path: path.with_suffix(".npy") and np.save(path.open("wb"), X),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", DATA)
def test_data_that_cannot_be_used_are_refused(job, refused, kind):
    DATA[kind](Path("wrong.npz"))
    refused(
        "optimize", "model.keras", "--data", "wrong.npz", "--dsp", 50, "--output", "o", "--quiet"
    )
    assert not Path("o").exists()


@pytest.mark.parametrize("name", ["d.h5", "d.parquet", "d.csv", "d", "d.npz.gz"])
@pytest.mark.parametrize("content", [b"", b"PAR1 or HDF or what"])
def test_other_files_that_cannot_be_used_are_refused(refused, name, content):
    Path(name).write_bytes(content)
    refused("optimize", "model.keras", "--data", name, "--dsp", 50, "--output", "o", "--quiet")


def test_tables_that_do_not_suit_are_refused(refused):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for columns in (
        {"y": [1, 2]},
        {"a": [1, 2]},
        {"y": ["u", "v"], "a": [1, 2]},
        {"y": [0, 1], "a": ["u", "v"]},
    ):
        pandas.DataFrame(columns).to_parquet("d.parquet")
        refused("optimize", "model.keras", "--data", "d.parquet", "--dsp", 50, "--quiet")


# --- models -------------------------------------------------------------------------------------------------


def _zip(**members):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("_", "."), content)

    return write


def _rewritten(change):
    """Return what writes the model with another configuration."""

    def write(path):
        with zipfile.ZipFile("model.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


def _unbuilt(path):
    keras.Sequential([keras.layers.Dense(3)]).save(path)


def _with_lambda(path):
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(3)]
    )
    model.save(path)


MODELS = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a model"),
    "torn": lambda path: path.write_bytes(Path("model.keras").read_bytes()[:-200]),
    "torn at the start": lambda path: path.write_bytes(Path("model.keras").read_bytes()[200:]),
    "an empty archive": _zip(),
    "no configuration": _zip(metadata_json="{}"),
    "a configuration that is no JSON": _zip(config_json="{", metadata_json="{}"),
    "a configuration of nothing": _zip(config_json="{}", metadata_json="{}"),
    "a list": _zip(config_json="[]", metadata_json="{}"),
    "no weights": _rewritten(lambda c: c),
    "an unknown class": _rewritten(lambda c: {**c, "class_name": "Sequences"}),
    "an unknown module": _rewritten(
        lambda c: {**c, "module": "nowhere.to.be.found", "class_name": "X"}
    ),
    "a module that is not Keras'": _rewritten(
        lambda c: {**c, "module": "os", "class_name": "system"}
    ),
    "no layers": _rewritten(lambda c: {**c, "config": {"name": "x", "layers": []}}),
    "unbuilt": _unbuilt,
    "code in it": _with_lambda,
    "a folder": lambda path: path.mkdir(),
}
MODELS["no weights"] = lambda path: _zip(
    config_json=zipfile.ZipFile("model.keras").read("config.json"),
    metadata_json=zipfile.ZipFile("model.keras").read("metadata.json"),
)(path)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("command", ["estimate", "reduce", "optimize"])
def test_models_that_cannot_be_loaded_are_refused(refused, kind, command):
    MODELS[kind](Path("wrong.keras"))
    words = {
        "reduce": ["smaller.keras"],
        "optimize": ["--data", "data.npz", "--dsp", 50, "--quiet"],
    }
    refused(command, "wrong.keras", *words.get(command, []))


@pytest.mark.parametrize(
    "name", ["missing.keras", "model.pkl", "model.h5", ".", "run.yaml/x.keras"]
)
def test_names_that_are_no_models_are_refused(refused, name):
    if name == "model.h5":
        Path(name).write_bytes(b"\x89HDF but not really")
    refused("estimate", name)


# --- folders of runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(job, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    assert main(["optimize", str(job.folder / "run.yaml"), "--output", str(place), "--quiet"]) == 0
    return place / "run-0001"


FILES = ["manifest.json", "report.json"]
DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "a list": lambda path: path.write_text("[]"),
    "no names": lambda path: path.write_text("{}"),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "null": lambda path: path.write_text("null"),
    "nested": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_damaged_runs_are_not_reported(refused, finished, name, damage):
    shutil.copytree(finished, "run")
    Path("run/report.html").unlink()
    DAMAGE[damage](Path("run") / name)
    refused("report", "run")
    assert not Path("run/report.html").exists()


@pytest.mark.parametrize("damage", ["empty", "torn", "a list", "bytes"])
@pytest.mark.parametrize("name", ["groups.npz", "hls_config.json", "verification.json"])
def test_runs_with_other_damaged_files_are_not_reported(refused, finished, name, damage):
    shutil.copytree(finished, "run")
    path = Path("run") / name
    if not path.exists():
        path.write_text(json.dumps({"passed": True, "text": "x" * 99}))
    DAMAGE[damage](path)
    refused("report", "run")


def test_values_of_a_wrong_kind_in_a_report_are_refused(refused, finished):
    shutil.copytree(finished, "run")
    path = Path("run/report.json")
    whole = json.loads(path.read_text())
    for name in whole:
        for value in ("x", [1], {"a": 1}, -1):
            if name in ("metric_name", "derivatives") or value == whole[name]:
                continue
            path.write_text(json.dumps({**whole, name: value}))
            code = main(["report", "run"])
            assert code in (0, 2), (name, value)


@pytest.mark.parametrize("damage", ["empty", "torn", "a list", "bytes", "no names", "null"])
@pytest.mark.parametrize("name", ["manifest.json", "config.yaml"])
def test_damaged_runs_are_not_resumed(refused, finished, name, damage):
    shutil.copytree(finished, "run")
    DAMAGE[damage](Path("run") / name)
    if (name, damage) == ("config.yaml", "torn"):
        Path("run/config.yaml").write_text("model: [")
    refused("resume", "run", "--quiet")


@pytest.mark.parametrize("damage", ["empty", "torn", "bytes", "gone"])
def test_a_damaged_journal_costs_what_it_does_not_tell_and_no_more(
    job, finished, tmp_path, damage, capfd
):
    """What is whole of it serves; the run ends as it did."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    expected = json.loads((run / "report.json").read_text())
    DAMAGE[damage](run / "journal.jsonl")
    assert main(["resume", str(run), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["report"]
    assert found["metric_after"] == expected["metric_after"]
    assert found["resources_after"] == expected["resources_after"]


def test_what_is_no_run_is_refused(refused):
    Path("plain").mkdir()
    for command in ("resume", "report"):
        for name in ("plain", "missing", "data.npz"):
            refused(command, name)


# --- commands -----------------------------------------------------------------------------------------------

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


# --- fuzzing ------------------------------------------------------------------------------------------------


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


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_changed_files_never_end_in_a_traceback(job, tmp_path_factory, seed):
    draw = random.Random(seed)
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("model.keras", "data.npz"):
        content = bytearray((job.folder / name).read_bytes())
        for _ in range(draw.randint(1, 30)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (folder / name).write_bytes(
            content[: draw.choice((None, None, draw.randrange(len(content))))]
        )
    before = contents(folder)
    assert main(["estimate", str(folder / "model.keras")]) in (0, 2)
    words = [
        "--data",
        str(folder / "data.npz"),
        "--dsp",
        "0",
        "--quiet",
    ]  # cannot be met: nothing is trained
    assert main(["optimize", str(job.model), *words]) in (2, 3)
    assert contents(folder) == before
