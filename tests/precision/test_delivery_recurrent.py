"""Networks with recurrent layers whose precision was trained, as hls4ml builds them."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.description.precision import FixedPrecision, dequantize, parse_precision, quantize
from fabricfit.network.reader import read
from fabricfit.precision.adders import count_adders
from fabricfit.precision.biases import find_formats, rounded_biases
from fabricfit.precision.delivery import deliver
from fabricfit.precision.model import build_precision_model
from tests.common import L, outputs_of
from tests.marks import ON_ONE_BACKEND
from tests.precision.test_delivery import inputs_for, trained_bits

pytestmark = ON_ONE_BACKEND

LAYERS = {
    "LSTM": lambda: L.LSTM(4, bias_initializer="normal", name="layer"),
    "GRU": lambda: L.GRU(4, bias_initializer="normal", return_sequences=True, name="layer"),
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(3, bias_initializer="normal"), name="layer"),
}


def recurrent(kind, **options):
    keras.utils.set_random_seed(0)
    x = start = keras.Input((4, 3), name="start")
    x = LAYERS[kind]()(x)
    if len(x.shape) > 2:
        x = L.Flatten(name="flat")(x)
    x = L.Dense(2, bias_initializer="normal", name="out")(x)
    made = build_precision_model(read(keras.Model(start, x)), by_channel=False, **options)
    trained_bits(made)
    return made


@pytest.mark.parametrize("kind", LAYERS)
def test_the_configuration_has_the_formats_of_all_weights(kind):
    made = recurrent(kind)
    X = inputs_for(made)
    delivered = deliver(made, [X])
    sections = delivered.hls_config["LayerName"]
    assert sections["layer"]["Strategy"] == "Latency"
    precisions = sections["layer"]["Precision"]
    assert precisions["result"] == precisions["default"] == "fixed<16,6>"
    network = read(delivered.model)
    biases = rounded_biases(made.weights["layer"], find_formats(made, [X]))
    for product, bias in zip(made.weights["layer"].products, biases, strict=True):
        kernel = network.kernels[f"layer/{product.kernel.part}"]
        np.testing.assert_array_equal(kernel.used(), product.weights)
        numbers = {kernel.weight_name: product.weights}
        if bias is not None:
            np.testing.assert_array_equal(kernel.used_bias(), bias)
            numbers |= zip(
                kernel.bias_names, bias if len(kernel.bias_names) > 1 else [bias], strict=True
            )
            assert (bias * 2.0**10 == np.round(bias * 2.0**10)).all()  # finer bits would be cut off
        for name, values in numbers.items():
            precision = parse_precision(precisions[name])
            kept = dequantize(quantize(values, precision), precision)
            np.testing.assert_array_equal(kept, values)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_delivered_model_computes_what_the_rounded_one_does_but_for_its_results(kind):
    """Roundings behind recurrent layers are number formats, of which Keras knows nothing."""
    made = recurrent(kind)
    X = inputs_for(made)
    for source in set(made.formats.values()):  # so fine that rounding does next to nothing
        source.bits.assign(np.full(source.bits.shape, 14.0))
    delivered = deliver(made, [X])
    np.testing.assert_allclose(outputs_of(delivered.model, X), outputs_of(made.model, X), atol=2e-2)
    added = {"layer_format", "layer_received"} if kind == "LSTM" else {"layer_format"}
    assert delivered.added == added
    assert delivered.hls_config["LayerName"]["layer_format"]["Precision"]["result"].endswith("SAT>")


def test_an_lstm_holds_the_format_of_its_input():
    """hls4ml's code of an LSTM compiles only where both have one format."""
    made = recurrent("LSTM", inner={"layer": FixedPrecision(12, 4)})
    made.formats["layer"].bits.assign([9.0])
    X = 40 * inputs_for(made)
    delivered = deliver(made, [X])
    integer = max(4, delivered.formats["start"][0].integer)
    expected = f"fixed<{9 + integer},{integer}>"
    sections = delivered.hls_config["LayerName"]
    assert integer > 4
    assert sections["layer"]["Precision"]["result"] == expected
    assert sections["layer_received"]["Precision"]["result"] == expected


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    "kind",
    ["LSTM", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("GRU", "Bidirectional"))],
)
def test_hardware_computes_what_is_emulated(kind):
    """hls4ml's compiled code, layer by layer, and results near those that were trained."""
    pytest.importorskip("hls4ml")
    made = recurrent(kind)
    X = inputs_for(made)
    delivered = deliver(made, [X])
    found = fabricfit.verify(delivered.model, delivered.hls_config, X, samples=50)
    assert found.passed and not found.mismatches and not found.not_modelled, str(found)
    wanted = outputs_of(made.model, X)
    error = fabricfit.firmware.evaluate(delivered.model, delivered.hls_config, X, wanted, "mse")
    assert error["mean_squared_error"] < 0.05 * np.var(wanted)


@pytest.mark.parametrize("kind", LAYERS)
def test_adders_of_each_kernel_are_counted_by_themselves(kind):
    trace = pytest.importorskip("alkaid.trace")
    made = recurrent(kind)
    formats = find_formats(made, [inputs_for(made)])
    counted = count_adders(made, formats)
    (own,) = formats["start_format"]
    wrapper = made.weights["layer"]
    waiting = []
    for product, bias in zip(wrapper.products, rounded_biases(wrapper, formats), strict=True):
        inner = product.kernel.part.endswith("recurrent_kernel")
        kif = (1, 5, 10) if inner else (own.signed, own.integer - own.signed, own.fractional)
        matrix = product.weights.reshape(product.kernel.shape[0], -1)
        x = trace.FVArray.from_kif(*(np.full(len(matrix), each) for each in kif))
        results = x @ matrix
        if bias is not None:
            waiting += [*np.atleast_2d(bias)]
        if waiting:
            results = results + waiting.pop(0)
        expected = float(trace.trace(x, results).cost)
        assert counted[f"layer/{product.kernel.part}"] == pytest.approx(expected)
