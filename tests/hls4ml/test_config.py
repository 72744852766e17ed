"""Reading configurations written by hand; those that hls4ml writes are in the file beside this."""

import copy
import warnings

import pytest

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import FixedPrecision
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.hls4ml import ReuseFactorWarning, read_hls4ml_attributes


class Dense:
    """Stands for a Keras layer's class: only its name is read."""


class Conv2D:
    """As above."""


def dense(name="fc1", n_in=16, n_out=64, inbound=("features",), **fields):
    return LayerAttributes(name, Dense, list(inbound), (n_in, n_out), (n_in,), (n_out,), **fields)


def conv(name="conv"):
    return LayerAttributes(name, Conv2D, ["image"], (3, 3, 3, 4), (8, 8, 3), (6, 6, 4))


def model_config(**changes):
    section = {"Precision": {"default": "fixed<16,6>"}, "ReuseFactor": 4, "Strategy": "Resource"}
    return {"Model": section | changes}


@pytest.fixture(autouse=True)
def _no_unexpected_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_model_section_alone():
    found = read_hls4ml_attributes(model_config(), dense())
    assert (found.n_in, found.n_out, found.reuse_factor) == (16, 64, 4)
    assert (found.strategy, found.io_type) == ("Resource", "io_parallel")
    assert found.weight_precision == FixedPrecision(16, 6)
    assert found.output_precision == FixedPrecision(16, 6)
    assert found.input_precision == FixedPrecision(16, 6)
    assert found.parallelization_factor == 1


def test_inputs_of_a_convolution_are_its_whole_window():
    found = read_hls4ml_attributes(model_config(ReuseFactor=9), conv())
    assert (found.n_in, found.n_out, found.reuse_factor) == (27, 4, 9)


def test_name_wins_over_type_over_model():
    config = model_config()
    config["LayerType"] = {"dense": {"ReuseFactor": 8, "Strategy": "Latency"}}
    config["LayerName"] = {"FC1": {"ReuseFactor": 2, "Precision": "fixed<8,3>"}}
    found = read_hls4ml_attributes(config, dense())
    assert (found.reuse_factor, found.strategy) == (2, "Latency")
    assert found.weight_precision == found.output_precision == FixedPrecision(8, 3)
    found = read_hls4ml_attributes(config, dense("fc2"))
    assert (found.reuse_factor, found.strategy) == (8, "Latency")
    assert found.weight_precision == FixedPrecision(16, 6)


def test_precisions_of_each_kind():
    config = model_config(Precision={"default": "fixed<16,6>", "weight": "fixed<7,1>"})
    config["LayerName"] = {"fc1": {"Precision": {"result": "ap_ufixed<10,2>", "weight": None}}}
    found = read_hls4ml_attributes(config, dense())
    assert found.weight_precision == FixedPrecision(7, 1)
    assert found.output_precision == FixedPrecision(10, 2, signed=False)


def test_a_layers_default_wins_over_the_models_weight():
    config = model_config(Precision={"default": "fixed<16,6>", "weight": "fixed<7,1>"})
    config["LayerName"] = {"fc1": {"Precision": {"default": "fixed<9,1>"}}}
    assert read_hls4ml_attributes(config, dense()).weight_precision.width == 9


def test_auto_is_the_quantizers_or_the_models_default():
    config = model_config(Precision={"default": "fixed<12,4>", "maximum": "fixed<20,8>"})
    config["LayerName"] = {"fc1": {"Precision": {"weight": "auto", "result": "auto"}}}
    found = read_hls4ml_attributes(config, dense())
    assert found.weight_precision == found.output_precision == FixedPrecision(12, 4)
    quantized = dense(quantizer_precision=FixedPrecision(6, 1))
    found = read_hls4ml_attributes(config, quantized)
    assert found.weight_precision == FixedPrecision(6, 1)
    assert found.output_precision == FixedPrecision(12, 4)


def test_what_is_stated_wins_over_the_quantizer():
    config = model_config()
    config["LayerName"] = {"fc1": {"Precision": {"weight": "fixed<5,1>"}}}
    quantized = dense(quantizer_precision=FixedPrecision(6, 1))
    assert read_hls4ml_attributes(config, quantized).weight_precision == FixedPrecision(5, 1)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"features": {"Precision": {"result": "fixed<8,2>"}}}, FixedPrecision(8, 2)),
        ({"features": {"Precision": {"result": "auto"}}}, None),
        (
            {
                "features": {"Precision": {"result": "fixed<24,8>"}},
                "features_relu": {"Precision": {"result": "ufixed<6,2>"}},
            },
            FixedPrecision(6, 2, signed=False),
        ),
        # Another layer's name that only looks like an activation's.
        ({"features_1": {"Precision": {"result": "fixed<8,2>"}}}, FixedPrecision(16, 6)),
    ],
)
def test_inputs_are_the_results_of_the_layer_before(sections, expected):
    found = read_hls4ml_attributes(model_config() | {"LayerName": sections}, dense())
    assert found.input_precision == expected


def test_inputs_from_several_layers_are_not_known():
    found = read_hls4ml_attributes(model_config(), dense(inbound=("a", "b")))
    assert found.input_precision is None


def test_whole_project_configurations_are_read():
    config = {"IOType": "io_stream", "Backend": "Vitis", "HLSConfig": model_config()}
    found = read_hls4ml_attributes(config, dense())
    assert (found.io_type, found.reuse_factor) == ("io_stream", 4)
    assert read_hls4ml_attributes(model_config() | {"IOType": "io_stream"}, dense()).io_type == (
        "io_stream"
    )


def test_snapping_names_the_layer_and_both_factors():
    with pytest.warns(ReuseFactorWarning, match="'fc1'.*ReuseFactor=5 and uses 4 instead"):
        found = read_hls4ml_attributes(model_config(ReuseFactor=5), dense())
    assert found.reuse_factor == 4


def test_unrolled_cannot_share_one_multiplier_among_all():
    config = model_config(Strategy="ResourceUnrolled", ReuseFactor=1024)
    with pytest.warns(ReuseFactorWarning, match="1024 and uses 512"):
        found = read_hls4ml_attributes(config, dense())
    assert (found.strategy, found.reuse_factor) == ("ResourceUnrolled", 512)


def test_latency_keeps_any_factor():
    found = read_hls4ml_attributes(model_config(Strategy="latency", ReuseFactor=5), dense())
    assert (found.strategy, found.reuse_factor) == ("latency", 5)


def test_unrolled_falls_back_where_hls4ml_does():
    config = model_config(Strategy="ResourceUnrolled", ReuseFactor=1)
    assert read_hls4ml_attributes(config, dense()).strategy == "Resource"
    config = model_config(Strategy="ResourceUnrolled", ReuseFactor=9)
    assert read_hls4ml_attributes(config, conv()).strategy == "Resource"
    config["IOType"] = "io_stream"
    assert read_hls4ml_attributes(config, conv()).strategy == "ResourceUnrolled"


def test_parallelization_factor_is_a_convolutions():
    config = model_config(ReuseFactor=9)
    config["LayerName"] = {"conv": {"ParallelizationFactor": 6}, "fc1": {"ReuseFactor": 4}}
    assert read_hls4ml_attributes(config, conv()).parallelization_factor == 6
    config["LayerName"]["conv"]["ParallelizationFactor"] = 5
    with pytest.warns(ReuseFactorWarning, match="ParallelizationFactor=5 and uses 4"):
        assert read_hls4ml_attributes(config, conv()).parallelization_factor == 4
    config["LayerName"]["fc1"]["ParallelizationFactor"] = 6
    assert read_hls4ml_attributes(config, dense()).parallelization_factor == 1


def test_a_convolution_that_hls4ml_computes_wrongly_is_told():
    config = model_config(ReuseFactor=54)
    with pytest.warns(ReuseFactorWarning, match="'conv'.*wrongly.*above its 27 inputs"):
        read_hls4ml_attributes(config, conv())
    read_hls4ml_attributes(config | {"IOType": "io_stream"}, conv())


def test_target_cycles_are_told():
    with pytest.warns(ReuseFactorWarning, match="TargetCycles"):
        read_hls4ml_attributes(model_config(TargetCycles=100), dense())


def test_the_configuration_is_not_changed():
    config = model_config(ReuseFactor=5)
    config["LayerName"] = {"fc1": {"Precision": {"weight": "auto"}}}
    before = copy.deepcopy(config)
    with pytest.warns(ReuseFactorWarning):
        read_hls4ml_attributes(config, dense())
    assert config == before


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (3, InvalidTypeError, "hls4ml configuration must be a dictionary"),
        ("io_parallel", InvalidInputError, "there is no file 'io_parallel'"),
        ({"Model": 3}, InvalidTypeError, r"config\['Model'\] must be a dictionary"),
        ({"LayerName": {"fc1": 3}}, InvalidTypeError, r"config\['LayerName'\]\['fc1'\]"),
        ({}, InvalidInputError, "no 'ReuseFactor' for layer 'fc1'"),
        ({"Model": {"ReuseFactor": 4}}, InvalidInputError, "no weight 'Precision' for .*'fc1'"),
        (model_config(ReuseFactor=0), InvalidInputError, r"\['Model'\]\['ReuseFactor'\].*'fc1'"),
        (model_config(ReuseFactor="a"), InvalidInputError, r"'ReuseFactor'.*Received: .*='a'"),
        (model_config(ReuseFactor=1.5), InvalidInputError, "Received: .*=1.5"),
        (model_config(Strategy="Unrolled"), InvalidInputError, "'Strategy'.*'fc1'.*Unrolled"),
        (model_config(Precision="16 bits"), InvalidInputError, "'Precision'.*weight.*'fc1'"),
        (model_config(Precision="auto"), InvalidInputError, "'Precision'.*weight.*'fc1'"),
        (model_config() | {"IOType": "serial"}, InvalidInputError, r"config\['IOType'\]"),
        (
            model_config(Strategy="distributed_arithmetic"),
            InvalidInputError,
            "'fc1'.*ReuseFactor of 1 only. Received: ReuseFactor=4",
        ),
    ],
)
def test_errors_name_the_key(config, error, message):
    with pytest.raises(error, match=message):
        read_hls4ml_attributes(config, dense())


def test_a_layer_without_a_matrix_is_refused():
    layer = LayerAttributes("norm", Dense, [], (16,), (16,), (16,))
    with pytest.raises(InvalidInputError, match=r"'norm'.*weight_shape=\(16,\)"):
        read_hls4ml_attributes(model_config(), layer)
