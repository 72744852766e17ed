"""Configurations as hls4ml writes them, and estimates with several of them."""

from __future__ import annotations

import json
import re

import keras
import pytest
import yaml

from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.fixture(scope="module")
def written(job, tmp_path_factory):
    """A configuration in every form in which hls4ml or its users write it."""
    hls4ml = pytest.importorskip("hls4ml")
    folder = tmp_path_factory.mktemp("written")
    model = keras.saving.load_model(job.model)
    config = hls4ml.utils.config_from_keras_model(model, granularity="name", backend="Vitis")
    config["LayerName"]["fc"] |= {"Strategy": "Resource", "ReuseFactor": 4}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "config.yml").write_text(yaml.dump(config))
    hls4ml.converters.convert_from_keras_model(
        model, hls_config=config, output_dir=str(folder / "project"), backend="Vitis"
    ).write()
    return folder


def test_what_hls4ml_writes_is_read(job, written, command):
    names = ("config.json", "config.yml", "project", "project/hls4ml_config.yml")
    found = []
    for name in names:
        code, out, err = command("estimate", job.model, "--hls-config", written / name, "--json")
        assert code == 0, err
        found.append(json.loads(out))
        (layer,) = (each for each in found[-1]["layers"] if each["name"] == "fc")
        assert (layer["strategy"], layer["reuse_factor"]) == ("resource", 4)
    assert found[0] == found[1] and found[2] == found[3]
    assert found[2]["target"]["tool"].startswith("Vitis")  # a project says what it is built with


def test_two_configurations_stand_side_by_side(job, written, command, tmp_path):
    latency = tmp_path / "latency.json"
    latency.write_text(json.dumps({"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1}}))
    both = ("--hls-config", written / "config.yml", "--hls-config", latency)
    code, out, _ = command("estimate", job.model, *both, "--device", "pynq-z2", "--json")
    told = json.loads(out)
    assert code == 0 and len(told) == 2
    used = [told[name]["total"]["dsp"]["value"] for name in ("config.yml", "latency.json")]
    assert used[0] < used[1]

    code, out, _ = command("estimate", job.model, *both, "--dsp", used[0])
    assert code == 0  # one of them fits
    assert re.search(rf"^total +DSP +{used[0]}\b.* {used[1]}\b", out, re.MULTILINE)
    assert any("resource, RF 4" in line and "latency, RF 1" in line for line in out.splitlines())
    (verdict,) = [line for line in out.splitlines() if line.strip().startswith("verdict")]
    assert verdict.split() == ["verdict", "fits", "does", "not", "fit"]
    code, out, _ = command("estimate", job.model, *both, "--dsp", 1)
    assert code == 4


def test_a_margin_asks_for_the_ends_of_the_error_bars(job, command):
    code, out, _ = command("estimate", job.model, "--json")
    lut = json.loads(out)["total"]["lut"]
    assert code == 0 and lut["high"] > lut["value"] + 1
    limit = ("estimate", job.model, "--lut", (lut["value"] + lut["high"]) / 2)
    assert command(*limit)[0] == 0
    assert command(*limit, "--margin", 1)[0] == 4
