"""Recurrent layers, emulated and compiled."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

from fabricfit.firmware.verification import verify
from tests.common import L
from tests.firmware.firmware_models import write_config
from tests.marks import ON_ONE_BACKEND

pytest.importorskip("hls4ml")

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]

LAYERS = {
    "LSTM": lambda: L.LSTM(3, name="layer"),
    "LSTM of sequences": lambda: L.LSTM(
        3, "relu", return_sequences=True, use_bias=False, name="layer"
    ),
    "GRU": lambda: L.GRU(3, name="layer"),
    "GRU of sequences": lambda: L.GRU(
        3, "sigmoid", "tanh", return_sequences=True, use_bias=False, name="layer"
    ),
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(3), name="layer"),
    "Bidirectional of sequences": lambda: L.Bidirectional(
        L.LSTM(3, return_sequences=True), name="layer"
    ),
}

CASES = [
    ("LSTM", "Latency", 1, "io_parallel"),
    ("LSTM of sequences", "Latency", 1, "io_stream"),
    ("LSTM", "Resource", 4, "io_parallel"),
    ("GRU", "Latency", 1, "io_parallel"),
    ("GRU of sequences", "Resource", 2, "io_stream"),
    ("Bidirectional", "Latency", 1, "io_parallel"),
    ("Bidirectional of sequences", "Latency", 1, "io_parallel"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "strategy", "reuse_factor", "io_type"), CASES)
def test_compiled_code_computes_what_is_emulated(kind, strategy, reuse_factor, io_type):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 3), name="start"), LAYERS[kind]()])
    rng = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(rng.normal(0, 0.8, variable.shape))
    config = write_config(model, {"layer": (strategy, reuse_factor)}, default="fixed<14,5>")
    X = rng.normal(0, 1.5, size=(60, 4, 3)).astype("float32")
    found = verify(model, config, X, io_type=io_type)
    assert not found.mismatches and not found.not_modelled, str(found)
