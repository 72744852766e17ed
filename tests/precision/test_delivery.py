"""Formats of a finished training, and the network that hls4ml builds of them."""

from __future__ import annotations

import math
import shutil

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fabricfit
from fabricfit.description.precision import dequantize, parse_precision, quantize
from fabricfit.errors import InvalidInputError
from fabricfit.firmware.simulation import CapturedOutput, compile_project, convert, run_project
from fabricfit.network.reader import read
from fabricfit.precision.adders import count_adders
from fabricfit.precision.biases import find_formats, formats_behind
from fabricfit.precision.delivery import deliver
from fabricfit.precision.formats import (
    TensorFormat,
    find_extremes,
    find_input_limits,
    find_tensor_formats,
    weight_format,
)
from fabricfit.precision.model import build_precision_model
from tests.common import L, outputs_of
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def holds(width, integer, signed, number):
    unit = math.ldexp(1.0, integer - width)
    least = -math.ldexp(1.0, integer - 1) if signed else 0.0
    largest = (math.ldexp(1.0, integer - 1) if signed else math.ldexp(1.0, integer)) - unit
    return least <= number <= largest and (number / unit).is_integer()


@given(st.integers(-4, 8), st.integers(-300, 300), st.integers(-300, 300))
def test_a_format_is_the_narrowest_that_holds_both_ends(fractional, first, second):
    least, largest = sorted((math.ldexp(first, -fractional), math.ldexp(second, -fractional)))
    found = TensorFormat.covering(fractional, least, largest)
    width, integer = found.width, found.width - fractional
    assert found.signed == (least < 0)
    assert holds(width, integer, found.signed, least)
    assert holds(width, integer, found.signed, max(largest, 0.0))
    if width > 1:
        narrower = [holds(width - 1, integer - 1, found.signed, n) for n in (least, largest)]
        assert not all(narrower)


@given(st.lists(st.tuples(st.integers(-31, 31), st.integers(-6, 9)), min_size=1, max_size=12))
def test_formats_of_weights_hold_them_exactly(parts):
    weights = np.array([math.ldexp(integer, -bits) for integer, bits in parts])
    assume(weights.any())
    found = weight_format(weights)
    precision = parse_precision(f"fixed<{found.width},{found.width - found.fractional}>")
    np.testing.assert_array_equal(dequantize(quantize(weights, precision), precision), weights)
    coarser = weights * 2.0 ** (found.fractional - 1)
    assert (coarser != np.round(coarser)).any()


def trained_bits(made, seed=0):
    """Bits as a training may leave them: different ones, a few weights at zero."""
    rng = np.random.default_rng(seed)
    for wrapper in made.weights.values():
        for bits in wrapper.bits:
            bits.assign(rng.uniform(0.6, 4.4, bits.shape))
    for source in set(made.formats.values()):
        source.bits.assign(rng.uniform(1.6, 4.4, source.bits.shape))


def dense(by_channel=False):
    keras.utils.set_random_seed(0)
    x = start = keras.Input((6,), name="start")
    x = L.Dense(8, "relu", bias_initializer="normal", name="a")(x)
    y = L.Dense(8, "relu", bias_initializer="normal", name="b")(x)
    x = L.Concatenate(name="both")([x, y])
    x = L.Dense(8, bias_initializer="normal", name="c")(x)
    x = L.ReLU(name="rectified")(x)
    x = L.Dense(3, bias_initializer="normal", name="out")(x)
    return build_precision_model(read(keras.Model(start, x)), by_channel=by_channel)


def image(by_channel=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2), name="start"),
            L.Conv2D(4, 3, activation="relu", bias_initializer="normal", name="conv"),
            L.MaxPooling2D(2, name="pool"),
            L.Flatten(name="flat"),
            L.Dense(6, "relu", bias_initializer="normal", name="hidden"),
            L.Dense(3, bias_initializer="normal", name="out"),
        ]
    )
    return build_precision_model(read(model), by_channel=by_channel)


in_hardware = pytest.mark.parametrize(
    ("make", "strategy"),
    [
        (dense, "distributed_arithmetic"),
        pytest.param(dense, "Latency", marks=pytest.mark.slow),
        pytest.param(image, "distributed_arithmetic", marks=pytest.mark.slow),
        pytest.param(image, "Latency", marks=pytest.mark.slow),
    ],
)


def inputs_for(made, count=300):
    shape = made.model.inputs[0].shape[1:]
    return np.random.default_rng(1).normal(size=(count, *shape)).astype("float32")


def take_biases(made, delivered):
    """Give the model that trained the biases of results that are not rounded; others change nothing."""
    rounded = formats_behind(made, dict.fromkeys(made.makers, ()))
    for name in made.weights.keys() - rounded.keys():
        bias = delivered.model.get_layer(name).bias
        made.weights[name].layer.bias.assign(keras.ops.convert_to_numpy(bias))


def test_extremes_are_those_of_the_rounded_numbers():
    made = dense(by_channel=True)
    trained_bits(made)
    X = inputs_for(made)
    extremes = find_extremes(made, [X])
    bits = keras.ops.convert_to_numpy(made.formats["a"].bits)
    scale = np.exp2(np.round(bits))
    rounded = np.floor(X * scale + 0.5) / scale
    least, largest = extremes["start_format"]
    np.testing.assert_array_equal(least, rounded.min(0))
    np.testing.assert_array_equal(largest, rounded.max(0))
    formats = find_tensor_formats(made, extremes)["start_format"]
    assert len(formats) == 6 and all(each.signed for each in formats)


@given(st.floats(0.5, 1.0), st.booleans())
def test_inputs_saturate_where_few_numbers_are(part, by_channel):
    X = np.random.default_rng(0).normal(size=(400, 3)) * [0.1, 1.0, 30.0]
    (limits,) = find_input_limits([X], part, by_channel=by_channel).values()
    assert limits.shape == ((3,) if by_channel else (1,))
    np.testing.assert_array_equal(np.log2(limits), np.round(np.log2(limits)))
    columns = np.abs(X) if by_channel else np.abs(X).reshape(-1, 1)
    within = (columns <= limits).mean(0)
    assert (within >= part - 1 / len(X)).all()
    assert ((columns <= limits / 2).mean(0) <= part + 1 / len(X)).all()


def test_a_part_that_is_none_is_refused():
    for part in (0.0, 1.5):
        with pytest.raises(InvalidInputError, match="part must be"):
            find_input_limits([np.ones((3, 2))], part)


def test_what_comes_out_of_a_nested_model_is_refused():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, "relu", name="inside")], name="block")
    start = keras.Input((6,))
    model = keras.Model(start, L.Dense(2, name="out")(inner(L.Dense(4, name="first")(start))))
    made = build_precision_model(read(model), by_channel=False)
    with pytest.raises(InvalidInputError, match="nested model"):
        deliver(made, [inputs_for(made)])


@pytest.mark.parametrize("make", [dense, image])
def test_the_delivered_model_has_the_rounded_weights_and_formats(make):
    made = make()
    trained_bits(made)
    X = inputs_for(made)
    delivered = deliver(made, [X])
    assert "start" in delivered.formats
    for name, wrapper in made.weights.items():
        kernel = keras.ops.convert_to_numpy(delivered.model.get_layer(name).kernel)
        expected = wrapper.integers()[0] * np.exp2(
            -np.round(keras.ops.convert_to_numpy(wrapper.bits[0]))
        )
        np.testing.assert_array_equal(kernel, expected)
        section = delivered.hls_config["LayerName"][name]["Precision"]
        precision = parse_precision(section["weight"])
        np.testing.assert_array_equal(dequantize(quantize(kernel, precision), precision), kernel)


@in_hardware
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_hardware_computes_what_was_trained(make, strategy, tmp_path):
    """hls4ml's compiled code against the model that trained, whose biases alone are not on a grid."""
    pytest.importorskip("hls4ml")
    made = make()
    trained_bits(made)
    X = inputs_for(made)
    delivered = deliver(made, [X], dict.fromkeys(made.weights, strategy))
    take_biases(made, delivered)
    found = fabricfit.verify(delivered.model, delivered.hls_config, X[:50], samples=50)
    assert not found.mismatches and not found.not_modelled, str(found)

    output = CapturedOutput()
    options = {"backend": "Vitis", "io_type": "io_parallel"}
    project = convert(delivered.model, delivered.hls_config, tmp_path, output, **options)
    results = run_project(project, compile_project(project), [X[:50]], traced=False)
    np.testing.assert_allclose(
        results.outputs[0].reshape(50, -1), outputs_of(made.model, X[:50]), atol=1e-5
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_numbers_beyond_the_data_wrap_where_that_is_asked_for():
    pytest.importorskip("hls4ml")
    pytest.importorskip("alkaid.trace")
    made = dense()
    trained_bits(made)
    X = inputs_for(made)
    saturating = find_formats(made, [X])
    made.wraps = True
    formats = find_formats(made, [X])
    cost, less = (sum(count_adders(made, each).values()) for each in (saturating, formats))
    assert less < cost
    wrapping = deliver(made, [X])
    sections = wrapping.hls_config["LayerName"]
    assert "SAT" in sections["start"]["Precision"]["result"]
    assert all("WRAP" in sections[name]["Precision"]["result"] for name in ("both", "rectified"))
    found = fabricfit.verify(wrapping.model, wrapping.hls_config, 3 * X[:50], samples=50)
    assert not found.mismatches and not found.not_modelled, str(found)
