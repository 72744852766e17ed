"""Quantization to the grid: zeros exactly zero, equal weights still equal, the caller's model unchanged."""

import logging

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fabricfit.firmware import quantize_to_grid
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def quantized(weight="fixed<8,3>", bias="auto", kernel=None):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")])
    if kernel is None:
        kernel = np.random.default_rng(0).normal(0, 1, (4, 3))
    model.get_layer("fc").set_weights([kernel, np.array([0.013, -0.5, 1.0])])
    section = {"Precision": {"default": "fixed<16,6>"}, "ReuseFactor": 1, "Strategy": "Latency"}
    named = {"fc": {"Precision": {"weight": weight, "bias": bias}}}
    attributes = get_attributes_from_keras_model_and_hls4ml_config(
        model, {"Model": section, "LayerName": named}
    )
    return model, *quantize_to_grid(model, attributes)


def test_weights_are_multiples_of_the_last_bit():
    model, result, changes = quantized()
    before, after = model.get_layer("fc").get_weights()[0], result.get_layer("fc").get_weights()[0]
    np.testing.assert_array_equal(after * 32, np.round(after * 32))
    assert np.abs(after - before).max() <= 1 / 64
    assert changes["fc"].largest == pytest.approx(np.abs(after - before).max())
    assert changes["fc"].clipped == 0


def test_small_weights_become_exact_zeros_and_are_counted():
    kernel = np.full((4, 3), 0.5)
    kernel[0] = [0, 1e-4, -1e-3]
    _, result, changes = quantized(kernel=kernel)
    assert not result.get_layer("fc").get_weights()[0][0].any()
    assert changes["fc"].zeroed == 2


def test_weights_beyond_the_format_are_clipped_with_a_warning(caplog):
    kernel = np.full((4, 3), 0.5)
    kernel[1, 1] = 7.3
    with caplog.at_level(logging.WARNING, "fabricfit"):
        _, result, changes = quantized(kernel=kernel)
    assert result.get_layer("fc").get_weights()[0][1, 1] == 127 / 32
    assert changes["fc"].clipped == 1
    assert "layer 'fc': 1 weights are beyond fixed<8,3>" in caplog.text


def test_biases_follow_where_their_format_is_stated():
    _, result, _ = quantized()
    assert result.get_layer("fc").get_weights()[1][0] == np.float32(0.013)
    _, result, _ = quantized(bias="fixed<8,3>")
    assert result.get_layer("fc").get_weights()[1].tolist() == [0.0, -0.5, 1.0]


def test_layers_without_a_configuration_stay():
    model, _, _ = quantized()
    result, changes = quantize_to_grid(model, get_attributes_from_keras_model(model))
    assert changes == {}
    for old, new in zip(model.get_weights(), result.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_former_name_is_deprecated():
    from fabricfit import firmware

    with pytest.deprecated_call(match="quantize_to_grid"):
        assert firmware.snap_model is quantize_to_grid
