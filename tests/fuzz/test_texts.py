"""Changed configurations of runs and of hls4ml: read, or refused by an error of our own, in bounded time."""

from __future__ import annotations

import json
import random

import pytest
import yaml

from fabricfit.cli.configuration import parse, read_config
from fabricfit.hls4ml.checking import check_values
from fabricfit.hls4ml.plain import plain_configuration
from tests.fuzz.mutation import change_bytes, change_value, try_reader, write_odd

pytestmark = pytest.mark.slow

EXAMPLES = 2000
"""Of each format, half of them of changed bytes, half of changed values."""

RUN = {
    "model": "model.keras",
    "data": {"source": "data.npz", "inputs": ["a", "b"], "targets": "y", "validation_fraction": 0.2},
    "budget": {"relative": {"dsp": 0.5, "lut": 0.25}, "clock": "200MHz", "latency": "1us", "margin": 0.5},
    "hls4ml": {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1}},
    "training": {
        "epochs": 2, "batch_size": 64, "learning_rate": 1e-3, "loss": "mse", "metric": ["accuracy"],
        "class_weight": {0: 1.0, 1: 2.0}, "seed": 1, "tuner": None,
    },
    "levels": {"schedule": "polynomial", "steps": 2, "final": 0.9},
    "directory": "runs",
    "plugins": ["qkeras"],
}  # fmt: skip

RUN_TOML = b"""model = "model.keras"
plugins = ["qkeras"]
[data]
source = "data.npz"
inputs = {a = "x", b = 'y'}
[budget.relative]
dsp = 0.5
[training]
epochs = 2
learning_rate = 1e-3
class_weight = {0 = 1.0, 1 = 2.0}
# a comment
[levels]
final = 0.9
"""

HLS = {
    "Backend": "Vitis",
    "ClockPeriod": 5,
    "IOType": "io_parallel",
    "HLSConfig": {
        "Model": {
            "Precision": {"default": "fixed<16,6>", "maximum": "ap_fixed<32,16>"},
            "ReuseFactor": 4, "Strategy": "Resource",
        },
        "LayerType": {"Dense": {"ReuseFactor": 2, "Strategy": "Latency"}},
        "LayerName": {
            "fc1": {
                "Precision": {"weight": "fixed<8,3,RND_CONV,SAT>", "bias": "ufixed<8,3>", "result": "auto"},
                "ReuseFactor": 8,
            },
            "softmax": {"table_size": 1024, "exp_table_t": "fixed<18,8>", "Trace": False},
        },
    },
}  # fmt: skip

HLS_YAML = b"""KerasModel: !keras_model keras_model.keras
Backend: Vitis
HLSConfig:
  Model: &model
    Precision: {default: 'fixed<16,6>'}
    ReuseFactor: 4
    Strategy: Resource
  LayerType: {Dense: {<<: *model, ReuseFactor: 2}}
  LayerName:
    fc1:
      Precision:
        weight: !!python/object:hls4ml.model.types.FixedPrecisionType
          integer: 6
          width: 16
          signed: true
          saturation_bits: 0
          rounding_mode: &rounding !!python/object/apply:hls4ml.model.types.RoundingMode
          - 1
          saturation_mode: !!python/object/apply:hls4ml.model.types.SaturationMode
          - 1
        bias: !!python/object:hls4ml.model.types.FixedPrecisionType
          {integer: 3, width: 8, rounding_mode: *rounding}
"""


def _read_hls(given):
    check_values(plain_configuration(given))


def _try(path, content, read, seed):
    path.write_bytes(content)
    return try_reader(lambda: read(path), path, f"seed {seed}")


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("run.yaml", yaml.safe_dump(RUN).encode(), read_config),
        ("run.toml", RUN_TOML, read_config),
        ("hls.json", json.dumps(HLS, indent=1).encode(), _read_hls),
        ("hls.yml", HLS_YAML, _read_hls),
    ],
)
def test_changed_bytes_of_configurations(name, content, read, tmp_path):
    assert _try(tmp_path / name, content, read, "unchanged")
    for seed in range(EXAMPLES // 2):
        _try(tmp_path / name, change_bytes(content, random.Random(seed)), read, seed)


@pytest.mark.parametrize(
    ("name", "values", "write", "read"),
    [
        ("run.yaml", RUN, yaml.safe_dump, read_config),
        ("hls.json", HLS, lambda v: json.dumps(write_odd(v)), _read_hls),
        ("hls.yml", HLS, yaml.safe_dump, _read_hls),
    ],
)
def test_changed_values_of_configurations(name, values, write, read, tmp_path):
    for seed in range(EXAMPLES // 2):
        text = write(change_value(values, random.Random(seed)))
        _try(tmp_path / name, text.encode(), read, seed)


@pytest.mark.parametrize(
    ("values", "read"), [(RUN, parse), (HLS, _read_hls)], ids=["run", "hls4ml"]
)
def test_changed_values_that_python_gives(values, read):
    for seed in range(EXAMPLES):
        changed = change_value(values, random.Random(seed))
        try_reader(
            lambda changed=changed: read(changed), None, f"seed {seed}: {str(changed)[:3000]}"
        )
