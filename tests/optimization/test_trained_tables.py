"""Formats of tables behind trained sums: what training reached is what the network in hardware reaches."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.firmware import evaluate, quantize_to_grid
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.reader import read
from fabricfit.optimization import trained_tables
from fabricfit.optimization.compiled_settings import read_settings
from fabricfit.optimization.trained_tables import settle_tables
from tests.common import L
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

pytest.importorskip("hls4ml", exc_type=ImportError)


def network_of(activation, *behind):
    """Sums of up to some 60, as trained networks of adders have them, and what they are for."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    X = np.rint(rng.normal(size=(600, 8)) * 64).astype("float32") / 64
    dense = L.Dense(6, activation, kernel_initializer=keras.initializers.RandomNormal(stddev=6))
    model = keras.Sequential([keras.Input((8,), name="start"), dense, *behind])
    config = {
        "Model": {
            "Precision": "fixed<16,6>",
            "ReuseFactor": 1,
            "Strategy": "distributed_arithmetic",
        },
        "LayerName": {
            "start": {"Precision": {"result": "fixed<12,4>"}},
            dense.name: {"Precision": {"weight": "fixed<10,6>", "result": "auto", "accum": "auto"}},
        },
    }
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    model = quantize_to_grid(model, attributes)[0]
    y = keras.ops.convert_to_numpy(model(X)).argmax(axis=1)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return read(model), config, X, y


@pytest.mark.parametrize("behind", [(), (L.Softmax(name="softmax"),)])
def test_classes_are_those_of_the_floats(behind):
    network, config, X, y = network_of(None if behind else "softmax", *behind)
    opened = open_configuration(config, network)
    settings = read_settings(network.model, (X, y), None, {}, trained=True)
    settled = settle_tables(network, opened, (X, y), settings)
    before, after = (evaluate(network.model, each, X, y)["accuracy"] for each in (opened, settled))
    assert after > 0.985 > 0.95 > before
    name = network.model.layers[0].name
    assert settled["LayerName"][name]["Precision"]["weight"] == "fixed<10,6>"
    assert "RND" in settled["LayerName"][name]["Precision"]["result"]
    assert "exp_table_t" in settled["LayerName"]["softmax" if behind else f"{name}_softmax"]
    assert "exp_table_t" not in str(config)


def test_what_is_stated_of_tables_is_kept():
    network, config, X, y = network_of("softmax")
    name = network.model.layers[0].name
    stated = {"exp_table_t": "fixed<20,4>"}
    config["LayerName"][f"{name}_softmax"] = stated
    settings = read_settings(network.model, (X, y), None, {}, trained=True)
    settled = settle_tables(network, open_configuration(config, network), (X, y), settings)
    assert settled["LayerName"][f"{name}_softmax"]["exp_table_t"] == "fixed<20,4>"


def test_networks_without_tables_are_not_calibrated(monkeypatch):
    network, config, X, y = network_of("relu")
    monkeypatch.setattr(trained_tables, "calibrate", None)
    opened = open_configuration(config, network)
    settings = read_settings(network.model, (X, y), None, {}, trained=True)
    assert settle_tables(network, opened, (X, y), settings) == opened


def test_what_cannot_be_calibrated_is_left_as_it_is(monkeypatch):
    def refuse(*_, **__):
        raise InvalidInputError("not this one")

    network, config, X, y = network_of("softmax")
    monkeypatch.setattr(trained_tables, "calibrate", refuse)
    opened = open_configuration(config, network)
    settings = read_settings(network.model, (X, y), None, {}, trained=True)
    assert settle_tables(network, opened, (X, y), settings) == opened
