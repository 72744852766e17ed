"""The initiation interval of a network as a whole, as hls4ml itself states it."""

import warnings

import keras
import pytest

pytest.importorskip("hls4ml")
pytest.importorskip("da4ml")

import fabricfit
from fabricfit.design import DesignSpace
from fabricfit.firmware import realize
from fabricfit.firmware.simulation import CapturedOutput, convert
from fabricfit.hls4ml.pipelining import pipelined_interval
from fabricfit.network.configuration import open_configuration
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import as_network
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers
BUDGET = fabricfit.Budget(dsp=900, lut=90000)


def dense():
    layers = [keras.Input((8,), name="features"), L.Dense(8, activation="relu", name="a")]
    return keras.Sequential([*layers, L.BatchNormalization(name="between"), L.Dense(4, name="b")])


def convolutions():
    layers = [keras.Input((5, 2), name="features"), L.Conv1D(2, 2, activation="relu", name="a")]
    return keras.Sequential([*layers, L.Flatten(name="between"), L.Dense(4, name="b")])


def recurrent():
    layers = [keras.Input((3, 4), name="features"), L.LSTM(4, name="a"), L.ReLU(name="between")]
    return keras.Sequential([*layers, L.Dense(4, name="b")])


def write(model, a, b, **further):
    """A configuration; strategies and reuse factors of Model, a, b and further sections."""

    def section(stated):
        strategy, factor = stated
        found = {"Precision": "fixed<12,5>", "Strategy": strategy, "ReuseFactor": factor}
        return {key: value for key, value in found.items() if value is not None}

    named = {name: section(stated) for name, stated in further.items()}
    return {"Model": section(model), "LayerName": {"a": section(a), "b": section(b)} | named}


def built(model, config, folder, io_type="io_parallel"):
    """Return what hls4ml writes of the network as a whole."""
    found = convert(
        model, config, folder, CapturedOutput(), backend="Vitis", io_type=io_type, written=False
    )
    is_pipelined = found.config.pipeline_style == "pipeline"
    return found.config.pipeline_ii if is_pipelined else None


UNROLLED, LATENCY, GRAPH = ("ResourceUnrolled", 4), ("Latency", 1), ("distributed_arithmetic", 1)
MIXES = [
    (dense, write(LATENCY, UNROLLED, LATENCY)),
    (dense, write(("Latency", 16), UNROLLED, LATENCY)),
    (dense, write(("Resource", 16), UNROLLED, LATENCY)),
    (dense, write(("ResourceUnrolled", 16), UNROLLED, GRAPH)),
    (dense, write(("ResourceUnrolled", 2), LATENCY, GRAPH)),
    (dense, write(LATENCY, UNROLLED, ("Resource", 2))),
    (dense, write(("Latency", 16), ("Latency", 4), GRAPH)),
    (dense, write(LATENCY, ("Latency", 8), ("ResourceUnrolled", 2))),
    (dense, write(LATENCY, UNROLLED, GRAPH, a_relu=(None, 8))),
    (dense, write(LATENCY, UNROLLED, GRAPH, between=("Resource", 1))),
    (dense, write(LATENCY, UNROLLED, GRAPH, features=(None, 12))),
    (dense, write(("Latency", 16), UNROLLED, GRAPH, features=(None, 1), a_relu=(None, 1), between=(None, 1))),
    (dense, write(LATENCY, ("ResourceUnrolled", 1), GRAPH)),
    (convolutions, write(LATENCY, LATENCY, UNROLLED)),
    (recurrent, write(LATENCY, UNROLLED, GRAPH)),
    (recurrent, write(("Latency", 6), LATENCY, UNROLLED)),
]  # fmt: skip


def described(model, config):
    network = as_network(model)
    config = open_configuration(config, network)
    return config, describe_for_hls4ml(network, config)


@pytest.mark.parametrize(("make", "config"), MIXES)
def test_the_interval_is_the_one_that_hls4ml_states(make, config, tmp_path):
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pipelined_interval(*described(model, config)) == built(model, config, tmp_path)


@pytest.mark.parametrize("style", ["pipeline", "dataflow"])
def test_a_style_that_is_stated_counts(style, tmp_path):
    model, config = dense(), write(LATENCY, UNROLLED, LATENCY)
    config["Model"] |= {"PipelineStyle": style, "PipelineInterval": 7}
    expected = 7 if style == "pipeline" else None
    assert pipelined_interval(*described(model, config)) == expected
    assert built(model, config, tmp_path) == expected


def test_streams_and_other_compilers_have_none(tmp_path):
    model, config = dense(), write(LATENCY, UNROLLED, LATENCY)
    assert pipelined_interval(*described(model, config | {"IOType": "io_stream"})) is None
    assert built(model, config, tmp_path, "io_stream") is None
    assert pipelined_interval(*described(model, config | {"Backend": "Quartus"})) is None


def test_an_estimate_says_what_is_slower_than_its_layers():
    model = dense()
    quick = fabricfit.estimate(model, write(LATENCY, UNROLLED, LATENCY))
    slow = fabricfit.estimate(model, write(("Latency", 16), UNROLLED, LATENCY))
    assert (quick.interval.value, slow.interval.value) == (4, 16)
    assert not quick.remarks
    (remark,) = slow.remarks
    assert "interval of 16 cycles" in remark and "the slowest layer needs 4" in remark


def test_a_realized_configuration_is_as_quick_as_its_layers(tmp_path):
    model, config = dense(), write(("Latency", 16), ("Resource", 4), LATENCY)
    realized = realize(model, config)
    assert any("interval of 4 cycles" in remark for remark in realized.remarks)
    assert built(model, realized.config, tmp_path) == 4
    assert fabricfit.estimate(model, realized.config).interval.value == 4
    unchanged = realize(model, write(LATENCY, ("Resource", 4), LATENCY))
    assert "PipelineStyle" not in unchanged.config["Model"]


def test_an_explored_design_is_as_quick_as_it_says(tmp_path):
    model, stated = dense(), write(("Latency", 16), ("ResourceUnrolled", 4), LATENCY)
    stated["LayerName"]["b"] = {"Strategy": "Latency"}
    space = DesignSpace(widths=(8,), kept=(1.0,))
    for design in fabricfit.explore(model, BUDGET, hls_config=stated, space=space).designs:
        assert design.interval == 4
        assert built(model, design.config, tmp_path) == 4
        assert fabricfit.estimate(model, design.config).interval.value == 4
