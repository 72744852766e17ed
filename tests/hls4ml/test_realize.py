"""Configurations that realize savings, checked by what hls4ml then builds."""

import copy
import warnings

import pytest

keras = pytest.importorskip("keras")

from fabricfit.errors import InvalidInputError
from fabricfit.firmware import realize
from fabricfit.hls4ml import ReuseFactorWarning
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from tests.firmware import firmware_models as models
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


def config(reuse_factor=4, strategy="Resource", **more):
    section = {"Precision": "fixed<16,6>", "ReuseFactor": reuse_factor, "Strategy": strategy}
    return {"Model": section, **more}


def dense():
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, name="a"), layers.Dense(4, name="b")]
    )


def conv():
    layers = keras.layers
    x = image = keras.Input((6, 6, 4))
    x = layers.Flatten()(layers.Conv2D(4, 2, name="conv")(x))
    return keras.Model(image, layers.Dense(4, name="fc")(x))


def test_resource_becomes_what_drops_multipliers_and_nothing_else_changes():
    given = config(Other={"kept": 1})
    before = copy.deepcopy(given)
    found = realize(dense(), given)
    assert given == before
    assert found.config["Model"] == given["Model"] | {"Strategy": "ResourceUnrolled"}
    assert found.config["Other"] == {"kept": 1}
    for name in ("a", "b"):
        assert found.config["LayerName"][name] == {"Strategy": "ResourceUnrolled", "ReuseFactor": 4}
    assert any("'a'" in r and "ResourceUnrolled" in r for r in found.remarks)


def test_constants_keep_their_strategy():
    for strategy in ("Latency", "distributed_arithmetic"):
        found = realize(dense(), config(1, strategy)).config
        assert found["LayerName"]["a"] == {"Strategy": strategy, "ReuseFactor": 1}
        assert found["Model"]["Strategy"] == strategy
    found = realize(dense(), config(1, "ResourceUnrolled")).config
    assert found["LayerName"]["a"]["Strategy"] == "Resource"  # as hls4ml builds it, silently


def test_settings_of_a_name_a_type_and_the_project_stay():
    named = {"a": {"Precision": {"weight": "fixed<8,2>"}, "ReuseFactor": 2, "Trace": True}}
    typed = {"Dense": {"Precision": "fixed<12,4>", "ReuseFactor": 8, "Strategy": "Latency"}}
    project = {"HLSConfig": config(LayerName=named, LayerType=typed), "IOType": "io_parallel"}
    inner = realize(dense(), project).config["HLSConfig"]
    assert inner["LayerName"]["a"] == {
        "Precision": {"weight": "fixed<8,2>"},
        "ReuseFactor": 2,
        "Trace": True,
        "Strategy": "Latency",
    }
    assert inner["LayerName"]["b"]["Precision"] == "fixed<12,4>"
    assert inner["LayerType"] == typed


def test_a_reuse_factor_that_hls4ml_would_replace_is_stated():
    with pytest.warns(ReuseFactorWarning, match="uses 4"):
        found = realize(dense(), config(5)).config
    assert found["LayerName"]["a"]["ReuseFactor"] == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        realize(dense(), found)


def test_target_cycles_give_way_to_a_stated_reuse_factor():
    given = config()
    given["Model"]["TargetCycles"] = 100
    with pytest.warns(ReuseFactorWarning, match="TargetCycles"):
        found = realize(dense(), given)
    assert "TargetCycles" not in found.config["Model"]
    assert any("TargetCycles" in remark for remark in found.remarks)


def test_parallel_convolutions_keep_their_multipliers_and_say_so():
    found = realize(conv(), config(4))
    assert found.config["LayerName"]["conv"]["Strategy"] == "Resource"
    assert found.config["LayerName"]["fc"]["Strategy"] == "ResourceUnrolled"
    assert any("'conv' keeps all its multipliers" in remark for remark in found.remarks)
    streamed = realize(conv(), config(4, IOType="io_stream"))
    assert streamed.config["LayerName"]["conv"]["Strategy"] == "ResourceUnrolled"


def test_the_parallelization_factor_of_the_model_reaches_the_layer():
    """A section by the layer's name would hide it from hls4ml."""
    given = config(4)
    given["Model"]["ParallelizationFactor"] = 5
    found = realize(conv(), given).config
    assert found["LayerName"]["conv"]["ParallelizationFactor"] == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config(32), "layer 'conv': .*computes a convolution wrongly.*16 inputs.*ReuseFactor=32"),
        (config(4, "Unrolled"), "Did you mean 'ResourceUnrolled'"),
        (config(4, "distributed_arithmetic"), "ReuseFactor of 1 only"),
    ],
)
@pytest.mark.filterwarnings("ignore::fabricfit.hls4ml.ReuseFactorWarning")
def test_what_would_come_out_wrong_is_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        realize(conv(), given)


@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("given", [config(4), config(1), config(1, "Latency"), config(8)])
@pytest.mark.filterwarnings("ignore::fabricfit.hls4ml.ReuseFactorWarning")
def test_hls4ml_builds_what_is_stated(given, io_type, tmp_path):
    pytest.importorskip("hls4ml")
    from fabricfit.firmware.simulation import CapturedOutput, convert

    model = models.lenet() if io_type == "io_stream" else conv()
    found = realize(model, given | {"IOType": io_type}).config
    graph = convert(model, found, tmp_path, CapturedOutput(), backend="Vitis", io_type=io_type)
    attributes = get_attributes_from_keras_model_and_hls4ml_config(model, found)
    for node in graph.get_layers():
        if node.name in found["LayerName"]:
            section = found["LayerName"][node.name]
            strategy = section["Strategy"].lower().replace("unrolled", "_unrolled")
            assert node.get_attr("strategy") == strategy
            assert node.get_attr("reuse_factor") == section["ReuseFactor"]
            hls = attributes[node.name].hls4ml
            assert hls.reuse_factor == section["ReuseFactor"]
