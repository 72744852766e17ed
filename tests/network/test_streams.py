"""Models in streams as they are built: work on one position at a time, FIFOs, one stage after the other."""

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.description.verdicts import Verdict
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config as describe
from fabricfit.network.reader import read
from fabricfit.network.whole_pooling import replace_whole_pooling
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers
PRECISION = "fixed<16,6>"


def configure(io_type="io_stream", **more):
    model = {"Precision": PRECISION, "ReuseFactor": 9, "Strategy": "Resource"} | more
    return {"IOType": io_type, "Model": model}


def network(activation=None, pooling=L.MaxPooling2D):
    layers = [keras.Input((32, 32, 3)), L.Conv2D(16, 3, activation=activation, name="c")]
    layers += [L.BatchNormalization(name="bn")]
    layers += [L.ReLU(name="r")] if activation is None else []
    return keras.Sequential(
        [*layers, pooling(2, name="p"), L.Flatten(name="f"), L.Dense(4, name="d")]
    )


def by_name(estimate):
    return {layer.name: layer for layer in estimate.layers}


@pytest.mark.parametrize("strategy", ["Resource", "Latency"])
@pytest.mark.parametrize("backend", [{}, {"Backend": "Vitis"}])
def test_layers_without_a_kernel_work_on_one_position(strategy, backend):
    found = by_name(fabricfit.estimate(network(), configure(Strategy=strategy) | backend))
    assert found["bn"].resources["dsp"].value <= 16
    assert 100 < found["r"].resources["lut"].value <= 2000
    assert found["p"].resources["lut"].value <= 4000
    parallel = by_name(fabricfit.estimate(network(), configure("io_parallel")))
    assert parallel["r"].resources["lut"].value > 100 * found["r"].resources["lut"].value


def test_an_activation_of_the_layer_is_the_same_design():
    apart, own = (
        fabricfit.estimate(network(each), configure()).resources for each in (None, "relu")
    )
    for name, found in apart.items():
        assert own[name].value == pytest.approx(found.value, rel=0.1), name


def test_there_is_a_fifo_for_each_stream_between_two_nodes():
    fifos = {name: layer.fifos for name, layer in describe(network(), configure()).items()}
    positions, bits = 30 * 30, 16 * 16
    assert fifos["c"] == fifos["bn"] == fifos["r"] == ((positions, bits),)
    assert fifos["p"] == ((15 * 15, bits),)
    assert fifos["f"] == fifos["d"] == ()
    own = describe(network("relu"), configure())["c"].fifos
    assert own == ((positions, bits), (positions, bits))
    assert not any(layer.fifos for layer in describe(network(), configure("io_parallel")).values())


def test_a_stream_that_several_read_is_cloned():
    x = keras.Input((8, 8, 4))
    first = L.Conv2D(4, 3, padding="same", name="first")(x)
    second = L.Conv2D(4, 3, padding="same", name="second")(first)
    model = keras.Model(x, L.Add(name="sum")([first, second]))
    fifos = {name: len(layer.fifos) for name, layer in describe(model, configure()).items()}
    assert fifos["first"] == 3  # to the clone, and from it to each reader
    assert fifos["second"] == 1
    assert fifos["sum"] == 0


def test_widths_are_those_of_the_configuration():
    config = configure() | {"LayerName": {"c": {"Precision": {"result": "fixed<24,8>"}}}}
    assert describe(network(), config)["c"].fifos == ((900, 16 * 24),)
    narrow = configure() | {"LayerName": {"r": {"Precision": {"result": "ufixed<4,0>"}}}}
    luts = [
        by_name(fabricfit.estimate(network(), each))["r"].resources["lut"].value
        for each in (configure(), narrow)
    ]
    assert luts[1] < luts[0]


def test_fifos_are_a_row_of_their_own():
    found = fabricfit.estimate(network(), configure())
    fifos = by_name(found)["FIFOs"]
    assert fifos.resources["bram18"].value == 4 * 15
    assert "FIFOs (io_stream)" in str(found)
    assert "FIFOs" not in by_name(fabricfit.estimate(network(), configure("io_parallel")))


def test_a_convolution_goes_over_its_padded_input():
    def interval(padding, strides=1):
        layers = [keras.Input((10, 12, 3)), L.Conv2D(4, 3, strides, padding=padding, name="c")]
        found = fabricfit.estimate(keras.Sequential(layers), configure(), tool="vivado 2019.2")
        return by_name(found)["c"].interval.value

    assert interval("valid") == 10 * 12 * (9 + 5)
    assert interval("same") == 12 * 14 * (9 + 5)
    assert interval("same", 2) == 11 * 13 * (9 + 5)


def test_a_network_takes_as_long_as_its_slowest_stage_and_a_little():
    found = fabricfit.estimate(network(), configure())
    slowest = max(layer.latency.value for layer in found.layers)
    assert slowest < found.latency.value < 1.05 * slowest
    assert found.latency.value < sum(layer.latency.value for layer in found.layers)
    assert found.interval.value == slowest


def test_pooling_over_a_whole_map_is_global():
    layers = [keras.Input((8, 8, 6)), L.Conv2D(6, 3, padding="same"), L.AveragePooling2D(8)]
    model = keras.Sequential([*layers, L.Flatten(), L.Dense(3)])
    replaced = replace_whole_pooling(read(model))
    assert "GlobalAveragePooling2D" in [type(layer).__name__ for layer in replaced.model.layers]
    inputs = np.random.default_rng(0).normal(size=(4, 8, 8, 6)).astype("float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(replaced.model(inputs)),
        keras.ops.convert_to_numpy(model(inputs)),
        atol=1e-6,
    )
    used = [fabricfit.estimate(each, configure()).resources for each in (model, replaced.model)]
    assert used[0]["lut"].value > 2 * used[1]["lut"].value


@pytest.mark.parametrize(
    "end", [[L.AveragePooling2D(4), L.Flatten()], [L.AveragePooling2D(8)], [L.Flatten()]]
)
def test_other_pooling_stays(end):
    model = keras.Sequential([keras.Input((8, 8, 2)), L.Conv2D(2, 3, padding="same"), *end])
    whole = read(model)
    assert replace_whole_pooling(whole) is whole


def test_the_configuration_says_what_it_is_built_for():
    project = configure() | {"Backend": "VivadoAccelerator", "ClockPeriod": "8"}
    found = fabricfit.estimate(network(), project)
    assert str(found.target) == "7series, 8 ns, Vivado HLS 2020.1"
    vitis = configure() | {"Backend": "Vitis", "Part": "xcu250-figd2104-2L-e"}
    assert str(fabricfit.estimate(network(), vitis).target) == "ultrascale+, 5 ns, Vitis HLS 2024.1"
    asked = {"part": "xc7z020clg400-1", "clock_ns": 3.33, "tool": "2021.1", "binding": "dsp"}
    found = fabricfit.estimate(network(), vitis, budget=Budget.device("vcu118"), **asked)
    assert str(found.target) == "7series, 3.33 ns, Vitis HLS 2021.1, products in DSPs"
    board = fabricfit.estimate(network(), configure(), budget=Budget.device("pynq-z2"))
    assert board.target.clock_ns == 10
    with pytest.raises(fabricfit.errors.InvalidInputError, match="ClockPeriod"):
        fabricfit.estimate(network(), configure() | {"ClockPeriod": "fast"})


def test_a_board_is_compared_with_what_logic_synthesis_leaves():
    used = fabricfit.estimate(network(), configure())
    luts = used.resources["lut"].value
    limits = {"lut": 0.7 * luts}
    assert fabricfit.estimate(network(), configure(), budget=Budget(**limits)).verdict is (
        Verdict.DOES_NOT_FIT
    )
    board = Budget(stage="logic synthesis", **limits)
    found = fabricfit.estimate(network(), configure(), budget=board)
    assert found.verdict is Verdict.MAY_FIT and found.fits and not found.surely_fits
    assert "may fit" in str(found) and "after logic synthesis" in str(found)
    assert found.to_dict()["verdicts"] == {"lut": "may fit"}
