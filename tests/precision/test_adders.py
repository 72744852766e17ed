"""LUTs of a finished network, against adder graphs that are traced otherwise."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fabricfit.hardware.adder_graphs import GRAPH_BAND
from fabricfit.network.reader import read
from fabricfit.precision.adders import count_adders
from fabricfit.precision.biases import find_formats, rounded_bias
from fabricfit.precision.formats import rounded_weights
from fabricfit.precision.model import build_precision_model
from tests.common import L
from tests.marks import ON_ONE_BACKEND
from tests.precision.test_delivery import inputs_for, trained_bits

pytestmark = ON_ONE_BACKEND

trace = pytest.importorskip("alkaid.trace")


def finished(made):
    trained_bits(made)
    return find_formats(made, [inputs_for(made)])


def received(formats):
    signed, integer, fractional = (
        np.array([getattr(each, name) for each in formats], int)
        for name in ("signed", "integer", "fractional")
    )
    return signed, integer - signed, fractional


def single(make, shape, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape, name="start"), make()])
    return build_precision_model(read(model), **options)


@pytest.mark.parametrize("by_channel", [True, False])
def test_a_whole_network_costs_what_its_layers_cost(by_channel):
    """Traced as one, the widths of sums are those that the layers before them can make."""
    keras.utils.set_random_seed(0)
    sizes = {"a": 12, "b": 8, "out": 3}
    layers = [
        L.Dense(size, None if name == "out" else "relu", bias_initializer="normal", name=name)
        for name, size in sizes.items()
    ]
    model = keras.Sequential([keras.Input((6,), name="start"), *layers])
    made = build_precision_model(read(model), by_channel=by_channel)
    formats = finished(made)
    x = start = trace.FVArray.from_kif(
        *received(formats["start_format"] * (1 if by_channel else 6))
    )
    for name, size in sizes.items():
        wrapper = made.weights[name]
        own = formats[wrapper.source.name]
        behind = formats.get(f"{name}_format")
        x = x @ rounded_weights(wrapper)[0] + rounded_bias(wrapper, own, behind)
        if behind is not None:
            behind = behind * (1 if by_channel else size)
            assert behind[0].rounding == ("TRN" if by_channel else "RND")
            modes = {"overflow_mode": "SAT", "round_mode": behind[0].rounding}
            x = x.relu().quantize(*received(behind), **modes)
    whole = float(trace.trace(start, x).cost)
    assert sum(count_adders(made, formats).values()) == pytest.approx(whole, rel=0.06)


def test_large_graphs_are_estimated_by_their_digits(monkeypatch):
    keras.utils.set_random_seed(0)
    made = single(lambda: L.Dense(16, "relu", name="layer"), (24,))
    formats = finished(made)
    counted = count_adders(made, formats)["layer"]
    monkeypatch.setattr("fabricfit.precision.adders.MOST_DIGITS", 100)
    estimated = count_adders(made, formats)["layer"]
    low, high = GRAPH_BAND
    assert estimated != counted
    assert low * estimated <= counted <= high * estimated


def test_each_position_of_a_convolution_has_its_adders():
    made = single(lambda: L.Conv2D(3, 2, name="layer"), (4, 5, 2))
    formats = finished(made)
    (wrapper,) = made.weights.values()
    own = formats["start_format"]
    weights, bias = rounded_weights(wrapper)[0], rounded_bias(wrapper, own)
    patch = trace.FVArray.from_kif(*received(own * 4))
    results = patch @ weights.reshape(8, 3) + bias
    one = float(trace.trace(patch, results).cost)
    assert count_adders(made, formats)["layer"] == pytest.approx(one * 3 * 4)


def test_channels_of_a_depthwise_convolution_are_counted_by_themselves():
    made = single(lambda: L.DepthwiseConv2D(2, depth_multiplier=2, name="layer"), (3, 3, 2))
    formats = finished(made)
    (wrapper,) = made.weights.values()
    own = formats["start_format"]
    weights, bias = rounded_weights(wrapper)[0], rounded_bias(wrapper, own)
    total = 0.0
    for channel in range(2):
        for multiple in range(2):
            patch = trace.FVArray.from_kif(*received([own[channel]] * 4))
            results = patch @ weights[:, :, channel, multiple].reshape(4, 1)
            results = results + bias[2 * channel + multiple]
            total += float(trace.trace(patch, results).cost)
    assert count_adders(made, formats)["layer"] == pytest.approx(4 * total)
