"""The commands, on input that can be worked with."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml

from fabricfit.cli.configuration import dump, parse, read_config, schema
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.fixture(scope="module")
def done(job, tmp_path_factory):
    """The folder of a finished run."""
    from fabricfit.cli import main

    place = tmp_path_factory.mktemp("runs")
    assert main(["optimize", str(job.folder / "run.yaml"), "--output", str(place), "--quiet"]) == 0
    return place / "run-0001"


def test_a_run_leaves_what_is_needed_to_use_and_repeat_it(job, done, command):
    names = {path.name for path in done.iterdir()}
    assert {
        "config.yaml",
        "hls_config.json",
        "manifest.json",
        "model.keras",
        "report.html",
        "report.json",
    } <= names
    loaded = keras.saving.load_model(done / "model.keras")
    assert loaded.name == "tagger"
    code, out, _ = command(
        "optimize", done / "config.yaml", "--output", done.parent / "again", "--json"
    )
    assert code == 0
    again = json.loads(out)
    first = json.loads((done / "report.json").read_text())
    assert again["report"]["metric_after"] == first["metric_after"]
    second = keras.saving.load_model(done.parent / "again" / "run-0001" / "model.keras")
    for a, b in zip(loaded.variables, second.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))


def test_options_do_what_the_file_does(job, done, command, tmp_path):
    code, out, err = command(
        "optimize", job.model, "--data", job.folder / "data.npz", "--dsp", 20, "--epochs", 2,
        "--batch-size", 64, "--output", tmp_path, "--quiet",
    )  # fmt: skip
    assert code == 0 and "it fits" in out and not err.strip()


def test_a_finished_run_is_resumed_to_the_same(done, command):
    code, out, _ = command("resume", done, "--json")
    assert code == 0
    assert json.loads(out)["report"] == json.loads((done / "report.json").read_text())


def test_report_writes_a_page_and_overwrites_nothing(done, command, tmp_path):
    target = tmp_path / "page.html"
    code, out, _ = command("report", done, "--output", target)
    assert code == 0 and "accuracy" in out and target.read_text().startswith("<!doctype html>")
    assert command("report", done, "--output", target)[0] == 2


def test_an_estimate_is_told_with_and_without_a_device(job, command):
    code, out, _ = command("estimate", job.model, "--device", "pynq-z2", "--json")
    assert code == 0 and json.loads(out)["total"]["dsp"]["value"] > 0
    code, out, _ = command("estimate", job.model)
    assert code == 0 and "fc" in out


def test_deadlines_and_a_clock_are_given_with_their_units(job, command):
    words = ("estimate", job.model, "--interval", "25ns", "--clock", "200MHz")
    code, out, _ = command(*words, "--latency", "1 us", "--json")
    told = json.loads(out)
    assert code == 0 and told["verdicts"] == {"latency": "fits", "interval": "fits"}
    assert told["target"]["clock_ns"] == 5
    code, out, _ = command(*words[:2], "--device", "pynq-z2", "--clock", 4, "--latency", 1)
    assert code == 4 and "ns of 1 ns: does not fit" in out and ", 4 ns, " in out
    code, _, err = command(*words, "--latency", "soon")
    assert code == 2 and "--latency must be a time above 0" in err


def test_what_does_not_fit_has_its_own_code(job, command):
    code, _, _ = command("estimate", job.model, "--device", "pynq-z2", "--fraction", 0.01)
    assert code == 4
    words = ("optimize", job.model, "--data", job.folder / "data.npz", "--dsp", 0)
    code, _, err = command(*words)
    assert code == 3 and "at least" in err


def test_designs_are_explored_and_one_is_written(job, command, tmp_path):
    asked = ("explore", job.model, "--device", "pynq-z2", "--fraction", 0.05, "--latency", "1us")
    code, out, _ = command(*asked)
    assert code == 0 and "predicted loss" in out
    target = tmp_path / "design.json"
    sampled = (
        *asked,
        "--data",
        job.folder / "data.npz",
        "--loss",
        "sparse_categorical_crossentropy",
    )
    code, out, _ = command(*sampled, "--output", target, "--design", 1, "--json")
    assert code == 0
    assert json.loads(target.read_text()) == json.loads(out)["designs"][1]["config"]
    assert command("estimate", job.model, "--hls-config", target)[0] == 0
    code, _, err = command(*asked, "--output", target)
    assert code == 2 and "exists" in err
    code, _, err = command(*asked, "--design", 99)
    assert code == 2 and "--design must be a number from 0 to" in err
    code, _, err = command(*asked, "--interval", "1ns")
    assert code == 3 and "no design takes a sample every 1 ns" in err


def test_designs_are_explored_for_several_boards(job, command, tmp_path):
    boards = ("--device", "pynq-z2", "--device", "zcu102", "--fraction", 0.05, "--margin", 1)
    code, out, _ = command("explore", job.model, *boards)
    assert code == 0 and out.count("predicted loss") == 2
    assert "pynq-z2 (7series, 10 ns, " in out and "\n\nzcu102 (ultrascale+, " in out
    tight = ("explore", job.model, *boards[:4], "--fraction", 0.01)
    code, out, _ = command(*tight, "--json")
    told = json.loads(out)
    assert code == 0 and "and 3 is the least" in told["pynq-z2"]["error"]
    assert told["zcu102"]["designs"]
    code, out, _ = command(*tight, "--interval", "1ns")
    assert code == 3 and out.count("no design takes a sample every 1 ns") == 2
    code, _, err = command(*tight, "--output", tmp_path / "design.json")
    assert code == 2 and "--output and --design are for a single --device" in err


def test_designs_are_explored_for_amounts(job, command):
    amounts = ("explore", job.model, "--dsp", 20, "--lut", 9000, "--clock", "250MHz")
    code, out, _ = command(*amounts, "--margin", 0.5, "--json")
    told = json.loads(out)
    assert code == 0 and told["clock_ns"] == 4
    assert all(each["resources"]["dsp"] <= 20 for each in told["designs"])
    code, _, err = command(*amounts, "--device", "pynq-z2")
    assert code == 2 and "must be a --device or amounts" in err
    code, _, err = command(*amounts, "--margin", 2)
    assert code == 2 and "--margin: Input should be less than or equal to 1" in err
    code, _, err = command(*amounts, "--fraction", 0.5)
    assert code == 2 and "--fraction needs a --device" in err


def test_the_generated_code_is_verified(job, done, command):
    pytest.importorskip("hls4ml")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    code, out, _ = command(
        "verify", done / "model.keras", "--hls-config", done / "hls_config.json", "--counts-only"
    )
    assert code == 0 and "ok" in out


def test_a_network_is_written_as_verilog(job, done, command, tmp_path):
    pytest.importorskip("hls4ml")
    pytest.importorskip("alkaid", exc_type=ImportError)
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    words = (
        "rtl",
        done / "model.keras",
        tmp_path / "verilog",
        "--hls-config",
        done / "hls_config.json",
    )
    code, out, err = command(*words, "--register-every", 0, "--json")
    assert code == 0, err
    assert json.loads(out)["latency"] == 2
    assert "module network" in (tmp_path / "verilog" / "network.v").read_text()
    (tmp_path / "verilog" / "notes.txt").write_text("mine")
    code, _, err = command(*words)
    assert code == 2 and "notes.txt" in err


def test_a_model_is_reduced(job, command, tmp_path):
    model = keras.saving.load_model(job.model)
    kernel, bias = model.get_layer("fc").get_weights()
    kernel[:, :4] = 0
    model.get_layer("fc").set_weights([kernel, bias])
    model.save(tmp_path / "zeros.keras")
    code, out, _ = command("reduce", tmp_path / "zeros.keras", tmp_path / "small.keras", "--json")
    assert code == 0 and len(json.loads(out)["removed"]["fc"]) == 4
    assert keras.saving.load_model(tmp_path / "small.keras").get_layer("fc").units == 8
    assert command("reduce", tmp_path / "zeros.keras", tmp_path / "small.keras")[0] == 2


def test_devices_are_listed(command):
    code, out, _ = command("devices", "pynq")
    assert code == 0 and "PYNQ-Z2" in out and "220" in out
    code, out, _ = command("devices", "--json")
    assert {"name", "dsp", "family"} <= set(json.loads(out)[0])


def test_the_schema_is_told_and_fits_the_example(job, command):
    code, out, _ = command("schema")
    assert code == 0 and json.loads(out) == schema()
    assert schema()["properties"]["training"]


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["optimize", "-h"], ["demo", "--help"]]
)
def test_help_is_no_error(words, command):
    code, out, _ = command(*words)
    assert code == 0 and out


def test_a_configuration_is_written_as_it_was_read(job, tmp_path):
    config = read_config(job.folder / "run.yaml")
    (tmp_path / "again.yaml").write_text(dump(config))
    assert read_config(tmp_path / "again.yaml") == config
    assert config.training.tuner is None


def test_toml_says_the_same(job, tmp_path):
    path = job.folder / "run.toml"
    path.write_text(
        f'model = "{job.model}"\ndirectory = "runs"\n[data]\nsource = "data.npz"\n'
        "[budget.relative]\ndsp = 0.5\n[training]\nbatch_size = 64\nepochs = 2\n[levels]\nsteps = 2\n"
    )
    from_toml, from_yaml = read_config(path), read_config(job.folder / "run.yaml")
    path.unlink()
    assert from_toml.budget == from_yaml.budget and from_toml.data == from_yaml.data


@pytest.mark.parametrize("kind", ["npz", "h5", "parquet", "python", "split"])
def test_samples_are_read_from_every_kind_of_source(job, tmp_path, monkeypatch, kind):
    from fabricfit.cli.inputs import load_data
    from fabricfit.cli.sections import DataConfig

    X, y = job.X, job.y
    if kind == "npz":
        np.savez(tmp_path / "d.npz", X_train=X[:200], y_train=y[:200], X_val=X[200:], y_val=y[200:])
        config = DataConfig(source=str(tmp_path / "d.npz"))
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file["X"], file["y"] = X, y
        config = DataConfig(source=str(tmp_path / "d.h5"))
    elif kind == "parquet":
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        frame = pandas.DataFrame(X, columns=[f"x{i}" for i in range(8)])
        frame["y"] = y
        frame.to_parquet(tmp_path / "d.parquet")
        config = DataConfig(source=str(tmp_path / "d.parquet"))
    elif kind == "python":
        (tmp_path / "my_samples.py").write_text(
            "import numpy as np\n"
            "def pairs():\n"
            "    X = np.ones((10, 8), 'float32'); y = np.zeros(10, int)\n"
            "    return (X, y), (X[:4], y[:4])\n"
        )
        monkeypatch.chdir(tmp_path)
        (train, validation) = load_data(DataConfig(source="my_samples:pairs"))
        assert len(train[0]) == 10 and len(validation[0]) == 4
        return
    else:
        np.savez(tmp_path / "a.npz", X=X[:200], y=y[:200])
        np.savez(tmp_path / "b.npz", X=X[200:], y=y[200:])
        config = DataConfig(source=str(tmp_path / "a.npz"), validation=str(tmp_path / "b.npz"))
    train, validation = load_data(config)
    assert len(train[0]) + len(validation[0]) == 240
    assert train[0].shape[1:] == (8,) and len(train[0]) == len(train[1])
    if kind in ("npz", "split"):
        np.testing.assert_array_equal(validation[0], X[200:])
    assert 40 <= len(validation[0]) <= 48


@pytest.mark.parametrize(
    "form", [{"dsp": 20}, {"relative": {"dsp": 0.5}}, {"device": "pynq-z2", "fraction": 0.5}]
)
def test_a_budget_of_any_form_has_deadlines(job, form):
    from fabricfit.cli.budgets import budget_of

    timing = {"latency": "1us", "interval": 25, "clock": "200MHz"}
    config = parse({**job.values, "budget": {**form, **timing}})
    budget = budget_of(config.budget)
    assert budget.deadlines == {"latency": 1000, "interval": 25} and budget.clock_ns == 5
    assert parse(yaml.safe_load(dump(config))) == config
    for wrong in ({"latency": "soon"}, {"clock_ns": 5}):
        with pytest.raises(ValueError, match="budget"):
            parse({**job.values, "budget": {**form, **timing, **wrong}})


def test_a_deadline_that_cannot_be_kept_ends_the_command(job, command, tmp_path):
    words = ("--data", job.folder / "data.npz", "--dsp", 20, "--output", tmp_path / "runs")
    code, _, err = command("optimize", job.model, *words, "--interval", "1ns", "--quiet")
    assert code == 3 and "cannot be met. interval: 1 ns" in err
    assert not (tmp_path / "runs").exists()


def test_objectives_go_without_a_budget(job, command, tmp_path):
    values = {**job.values, "objective": "parameters", "levels": {"steps": 2, "final": 0.5}}
    del values["budget"]
    (job.folder / "objective.yaml").write_text(yaml.safe_dump(values))
    code, out, _ = command(
        "optimize", job.folder / "objective.yaml", "--output", tmp_path, "--json"
    )
    assert code == 0 and json.loads(out)["report"]["sparsity"] == 0.5
    assert parse(values).objective == "parameters"


def test_the_program_is_installed():
    done = subprocess.run(
        [sys.executable, "-m", "fabricfit", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.strip()


def test_help_waits_for_no_library():
    script = "import sys, fabricfit.cli.app; print(sorted({'numpy', 'pydantic', 'scipy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_design_is_chosen_from_the_command_line(job, command, tmp_path):
    pytest.importorskip("hls4ml")
    words = ["optimize", job.model, "--data", job.folder / "data.npz", "--precision", "chosen"]
    words += ["--lut", 9000, "--dsp", 100, "--latency", "200ns"]
    code, _, _ = command(
        *words, "--designs", 1, "--epochs", 2, "--output", tmp_path / "runs", "--quiet", "--json"
    )
    assert code == 0
    (folder,) = (tmp_path / "runs").glob("designs-0001/design-1/run-0001")
    config = json.loads((folder / "hls_config.json").read_text())
    assert "Precision" in next(iter(config["LayerName"].values()))
    again, _, _ = command("resume", folder, "--quiet")
    assert again == 0 and len(list((tmp_path / "runs").iterdir())) == 1


def test_precision_is_trained_from_the_command_line(job, command, tmp_path):
    pytest.importorskip("alkaid.trace")
    words = ["optimize", job.model, "--data", job.folder / "data.npz", "--lut", 20_000]
    trained = [*words, "--precision", "trained", "--epochs", 12, "--batch-size", 64]
    code, out, _ = command(*trained, "--output", tmp_path / "runs", "--quiet", "--json")
    assert code == 0
    report = json.loads(out)["report"]
    assert report["resources_after"][0] <= 20_000 and report["formats"]
    code, _, err = command(*words, "--precision", "taken", "--output", tmp_path / "other")
    assert code == 2 and "precision" in err
    assert not (tmp_path / "other").exists()


def test_weights_of_an_architecture_may_lie_elsewhere(job, command, tmp_path):
    model = keras.saving.load_model(job.model)
    (tmp_path / "net.json").write_text(model.to_json())
    model.save_weights(tmp_path / "trained.weights.h5")
    named = [tmp_path / "net.json", "--weights", tmp_path / "trained.weights.h5"]
    code, _, err = command("estimate", named[0])
    assert code == 2 and "--weights" in err
    told = command("estimate", *named)
    assert told[0] == 0 and told[1] == command("estimate", job.model)[1]
    assert command("reduce", named[0], tmp_path / "small.keras", *named[1:])[0] == 0
    code, _, err = command("estimate", job.model, *named[1:])
    assert code == 2 and "an architecture in a .json file" in err
    values = {**job.values, "model": "net.json", "weights": "trained.weights.h5"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    config = read_config(tmp_path / "run.yaml")
    assert config.weights == str(tmp_path / "trained.weights.h5")
