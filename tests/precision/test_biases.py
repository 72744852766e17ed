"""Biases on a grid, against the numbers that training computed with biases of its own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.network.reader import read
from fabricfit.precision.biases import find_formats, formats_behind, rounded_bias
from fabricfit.precision.formats import (
    TensorFormat,
    rounded_weights,
)
from fabricfit.precision.model import build_precision_model
from tests.common import L
from tests.marks import ON_ONE_BACKEND
from tests.precision.test_delivery import inputs_for, trained_bits

pytestmark = ON_ONE_BACKEND


def half_up(numbers, bits):
    return np.floor(np.asarray(numbers) * 2.0**bits + 0.5) / 2.0**bits


def single(activation):
    """A layer of one weight."""
    model = keras.Sequential([keras.Input((1,)), L.Dense(1, activation, name="a")])
    return build_precision_model(read(model), by_channel=False).weights["a"]


def assign(wrapper, bits, bias):
    wrapper.layer.kernel.assign([[2.0**-bits]])
    wrapper.bits[0].assign([[float(bits)]])
    wrapper.layer.bias.assign([bias])


def plain(bits):
    return TensorFormat(bits, 4, True)


@pytest.fixture(scope="module")
def layers():
    return {activation: single(activation) for activation in ("relu", None)}


@given(
    st.integers(0, 5),
    st.integers(0, 5),
    st.floats(-3, 3, width=32),
    st.sampled_from(["relu", None]),
)
def test_a_rounded_sum_is_the_same_with_the_rounded_bias(layers, bits, behind, bias, activation):
    assign(layers[activation], bits, bias)
    (found,) = rounded_bias(layers[activation], [plain(0)], [plain(behind)])
    assert (found * 2.0 ** max(bits, behind + 1)).is_integer()
    sums = np.arange(-40, 40) * 2.0**-bits
    exact = sums + np.float64(np.float32(bias))
    several = [np.maximum(each, 0) if activation else each for each in (exact, sums + found)]
    np.testing.assert_array_equal(half_up(several[1], behind), half_up(several[0], behind))


@pytest.mark.parametrize("by_channel", [True, False])
def test_a_network_computes_what_it_computed_in_training(by_channel):
    keras.utils.set_random_seed(0)
    layers = [
        L.Dense(8, "relu", bias_initializer="normal", name="a"),
        L.Dense(8, bias_initializer="normal", name="b"),
        L.ReLU(name="b_rectified"),
        L.Dense(3, name="out"),
    ]
    made = build_precision_model(
        read(keras.Sequential([keras.Input((6,), name="start"), *layers])), by_channel=by_channel
    )
    trained_bits(made)
    X = inputs_for(made)
    formats = find_formats(made, [X])
    behind = formats_behind(made, formats)
    rounds = np.floor if by_channel else lambda x: np.floor(x + 0.5)  # the half is in the bias
    tensors = made.observed([X], training=False)
    for name, rounded in (("a", "a_format"), ("b", "b_rectified_format")):
        wrapper = made.weights[name]
        received, wanted = (
            keras.ops.convert_to_numpy(tensors[each][0]) for each in (wrapper.source.name, rounded)
        )
        bias = rounded_bias(wrapper, formats[wrapper.source.name], behind[name])
        results = np.maximum(received.astype(float) @ rounded_weights(wrapper)[0] + bias, 0)
        bits = np.array([each.fractional for each in behind[name]])
        np.testing.assert_array_equal(rounds(results * 2.0**bits) / 2.0**bits, wanted)


def test_a_bias_of_results_that_are_not_rounded_is_finer_than_their_sum():
    wrapper = single(None)
    assign(wrapper, 3, 0.3)
    (found,) = rounded_bias(wrapper, [plain(2)])
    assert found == half_up(0.3, 3 + 2 + 4)
