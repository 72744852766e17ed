"""Formats for each channel: quantizer layers of HGQ2, and the network that hls4ml builds with them."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.network.reader import read
from fabricfit.precision.delivery import deliver
from fabricfit.precision.model import build_precision_model
from tests.common import L, outputs_of
from tests.precision.test_delivery import (
    dense,
    image,
    in_hardware,
    inputs_for,
    take_biases,
    trained_bits,
)

pytestmark = pytest.mark.hgq

pytest.importorskip("hgq")


def several_inputs():
    keras.utils.set_random_seed(0)
    first, second = keras.Input((4,), name="first"), keras.Input((3,), name="second")
    x = L.Concatenate(name="both")([L.Dense(4, "relu", name="a")(first), second])
    x = L.Dropout(0.2, name="drop")(L.Dense(5, "relu", name="b")(x))
    model = keras.Model([first, second], L.Dense(2, name="out")(x))
    return build_precision_model(read(model))


@pytest.mark.parametrize("make", [dense, image])
def test_the_delivered_model_computes_what_was_trained(make, tmp_path):
    made = make(by_channel=True)
    trained_bits(made)
    X = inputs_for(made)
    delivered = deliver(made, [X])
    take_biases(made, delivered)
    found = outputs_of(delivered.model, X)
    np.testing.assert_array_equal(found, outputs_of(made.model, X))
    delivered.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs_of(again, X), found)


def test_several_inputs_and_layers_that_hand_on_are_delivered():
    made = several_inputs()
    trained_bits(made)
    rng = np.random.default_rng(1)
    X = [rng.normal(size=(200, n)).astype("float32") for n in (4, 3)]
    delivered = deliver(made, X)
    take_biases(made, delivered)
    np.testing.assert_array_equal(outputs_of(delivered.model, X), outputs_of(made.model, X))


@in_hardware
def test_hardware_computes_what_was_trained(make, strategy):
    pytest.importorskip("hls4ml")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    made = make(by_channel=True)
    trained_bits(made)
    X = inputs_for(made)
    delivered = deliver(made, [X], dict.fromkeys(made.weights, strategy))
    take_biases(made, delivered)
    found = fabricfit.verify(delivered.model, delivered.hls_config, X[:50], samples=50)
    assert found.passed and not found.mismatches and not found.not_modelled, str(found)
    (output,) = found.outputs
    assert output.largest == 0.0
    # Keras computes what the model that trained does: so does the code.
    np.testing.assert_array_equal(outputs_of(delivered.model, X), outputs_of(made.model, X))


def test_numbers_beyond_the_data_wrap_as_in_keras():
    pytest.importorskip("hls4ml")
    made = dense(by_channel=True)
    trained_bits(made)
    X = inputs_for(made)
    saturating = deliver(made, [X]).model
    made.wraps = True
    delivered = deliver(made, [X])
    np.testing.assert_array_equal(outputs_of(delivered.model, X), outputs_of(saturating, X))
    far = 3 * X[:50]
    assert (outputs_of(delivered.model, far) != outputs_of(saturating, far)).any()
    if keras.backend.backend() == "tensorflow" and shutil.which("g++"):
        found = fabricfit.verify(delivered.model, delivered.hls_config, far, samples=50)
        assert found.passed and found.outputs[0].largest == 0.0, str(found)
