"""Depthwise and separable convolutions, emulated and compiled."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit.firmware import quantize_to_grid
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.plain_layers import make_plain
from fabricfit.network.reader import read
from tests.common import L
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytest.importorskip("hls4ml")

pytestmark = [
    *ON_ONE_BACKEND,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]

FORMATS = {
    "wraps": {"accum": "fixed<9,4>", "result": "fixed<8,4,RND>"},
    "saturates": {"accum": "fixed<8,3,RND,SAT>", "result": "fixed<6,3,RND_CONV,SAT_SYM>"},
    "strides": {"accum": "fixed<7,3,TRN,SAT>", "weight": "fixed<6,2,RND,SAT>"},
    "holds": {"accum": "fixed<20,9>", "result": "ufixed<7,3,TRN_ZERO,SAT_ZERO>"},
}


def heads(rank, few=False):
    """Depthwise convolutions of four channels, each with an input: one project to compile for all."""
    kind = getattr(L, f"DepthwiseConv{rank}D")
    made = [
        kind(3, name="wraps"),
        kind(3, padding="same", name="saturates"),
        kind(2, strides=2, padding="same", use_bias=False, name="strides"),
        kind(2, activation="relu", name="holds"),
    ][: 2 if few else 4]
    given = [keras.Input((5, 6, 4)[2 - rank :], name=f"to_{each.name}") for each in made]
    return models.seeded(given, [each(x) for each, x in zip(made, given, strict=True)])


def check(model, strategies, io_type, backend="Vitis"):
    present = {layer.name for layer in model.layers}
    formats = {name: form for name, form in FORMATS.items() if name in present}
    config = models.write_config(model, strategies, formats, default="fixed<10,4>")
    rng = np.random.default_rng(5)
    X = [rng.normal(0, 3, (60, *given.shape[1:])) for given in model.inputs]
    found = fabricfit.verify(model, config, X, io_type=io_type, backend=backend)
    assert not found.mismatches and not found.not_modelled and not found.differences, str(found)
    assert found.outputs_agree and found.overflows


def test_the_compiled_code_computes_what_is_emulated():
    check(heads(2, few=True), {}, "io_parallel")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 1])
def test_formats_of_all_kinds(rank):
    check(heads(rank), {}, "io_parallel")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["Latency", "Resource"])
@pytest.mark.parametrize("rank", [2, 1])
def test_streams_add_in_the_order_of_their_strategy(rank, strategy):
    """Reuse factors within the channels, multiples of them, and neither; and all products in one."""
    taps = 3**rank, 2**rank
    factors = {"wraps": 3, "saturates": taps[0] * 4, "strides": 2, "holds": 4 * 2 ** (rank - 1)}
    if rank == 2:
        factors["saturates"] = 9
    chosen = {name: (strategy, factor) for name, factor in factors.items()}
    check(heads(rank), chosen if strategy == "Resource" else {}, "io_stream", "Vivado")


def test_no_graph_of_adders_is_built():
    """hls4ml quantizes the weights and adds in the accumulator, whatever the configuration asks for."""
    given = keras.Input((6, 3), name="given")
    model = models.seeded(given, L.DepthwiseConv1D(3, name="layer")(given))
    asked = {
        strategy: {"Model": {"Precision": "fixed<9,4>", "ReuseFactor": 1, "Strategy": strategy}}
        for strategy in ("Latency", "distributed_arithmetic")
    }
    X = [models.samples(model)]
    found = [fabricfit.firmware.QuantizedNetwork(read(model), c).predict(X) for c in asked.values()]
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_a_separable_network_is_proved(io_type):
    """As fit makes it: a depthwise convolution, and one of kernel size 1 behind it."""
    given = keras.Input((5, 5, 3), name="given")
    x = L.SeparableConv2D(4, 3, activation="relu", name="sep")(given)
    x = L.Flatten(name="flat")(x)
    model = models.seeded(given, L.Dense(3, name="out")(x))
    model = make_plain(read(model)).network.model
    config = {
        "Model": {"Precision": "fixed<14,6,RND,SAT>", "ReuseFactor": 1, "Strategy": "Latency"}
    }
    described = get_attributes_from_keras_model_and_hls4ml_config(model, config)
    model, _ = quantize_to_grid(model, described)
    X = models.samples(model, 40) / 2
    found = fabricfit.verify(model, config, X, io_type=io_type)
    assert found.passed and not found.not_modelled, str(found)
    (exact,) = fabricfit.firmware.QuantizedNetwork(read(model), config).predict([X])
    assert np.abs(exact - keras.ops.convert_to_numpy(model(X))).max() < 1


@pytest.mark.qkeras
@pytest.mark.parametrize(
    "io_type", ["io_parallel", pytest.param("io_stream", marks=pytest.mark.slow)]
)
def test_both_products_of_a_quantized_separable_layer_are_proved(io_type):
    """hls4ml makes two layers of it, of which only the first one pads and strides."""
    qkeras = pytest.importorskip("qkeras", exc_type=ImportError)
    if not hasattr(qkeras, "QSeparableConv2D"):
        pytest.skip("another package named qkeras is installed")
    bits = qkeras.quantized_bits(6, 1, alpha=1)
    given = keras.Input((5, 5, 3), name="given")
    layer = qkeras.QSeparableConv2D(
        4,
        3,
        strides=2,
        padding="same",
        depthwise_quantizer=bits,
        pointwise_quantizer=bits,
        bias_quantizer=bits,
        name="sep",
    )
    model = models.seeded(given, layer(given))
    config = models.write_config(model, {}, default="fixed<14,6>")
    found = fabricfit.verify(model, config, models.samples(model), io_type=io_type)
    assert found.passed and not found.not_modelled, str(found)
    assert [each.name for each in found.layers] == ["sep_depthwise", "sep_pointwise"]
