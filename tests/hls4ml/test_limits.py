"""Every row of the table of limits is true of the hls4ml that is installed."""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

import fabricfit
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.firmware.simulation import CapturedOutput, convert
from fabricfit.hls4ml.converters import CONVERTED, CONVERTED_QKERAS, LARGEST_UNROLLED, NOISE
from fabricfit.hls4ml.findings import BuildWarning, Verdict
from fabricfit.hls4ml.limits import LIMITS
from fabricfit.network.buildable import list_limits
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import read
from tests.common import quick_settings
from tests.hls4ml.limit_cases import DIFFERING, EXAMPLES, STOPPING
from tests.marks import ON_ONE_BACKEND

L = keras.layers

pytestmark = ON_ONE_BACKEND

by_id = {"ids": lambda example: example.id}
TEMPLATES = Path(hls4ml.__file__).parent / "templates"


def found_in(model, config):
    network = read(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attributes = describe_for_hls4ml(network, config)
    return list_limits(network, attributes, config)


def converted(example, model, folder):
    config = example.config(model)
    io_type = config.pop("IOType")
    config.pop("Backend", None)
    return convert(
        model, config, folder, CapturedOutput(), backend=example.backend, io_type=io_type
    )


@pytest.mark.parametrize("example", EXAMPLES, **by_id)
def test_a_limit_is_recognized_and_only_that(example):
    model = example.model()
    found = found_in(model, example.config(model))
    names = {finding.limit.name for finding in found}
    assert example.limit in names
    # Keras computes masks by operations.
    assert names <= {example.limit, *(["operation"] if example.limit == "mask" else [])}
    finding = next(each for each in found if each.limit.name == example.limit)
    assert f"layer {finding.layer!r} ({finding.kind}): hls4ml " in str(finding)
    assert "{" not in str(finding) and str(finding).endswith(".")


@pytest.mark.parametrize("example", STOPPING, **by_id)
def test_hls4ml_stops(example, tmp_path):
    with pytest.raises(FabricFitError, match="hls4ml cannot convert"):
        converted(example, example.model(), tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("example", DIFFERING, **by_id)
def test_hls4ml_builds_another_function(example):
    model = example.model()
    try:
        found = fabricfit.verify(model, example.config(model), example.samples())
    except FabricFitError as error:
        assert re.search("Output of the compiler|code stopped", str(error)), error
        return
    assert found.differences, str(found)
    assert found.wrongly_built and found.outcome == "failed"


def test_a_simple_recurrent_layer_has_no_code(tmp_path):
    model = keras.Sequential([keras.Input((5, 4)), L.SimpleRNN(3, name="layer")])
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    assert [finding.limit.name for finding in found_in(model, config)] == ["simple recurrent layer"]
    graph = convert(
        model, config, tmp_path, CapturedOutput(), backend="Vitis", io_type="io_parallel"
    )
    assert not next(n for n in graph.get_layers() if n.name == "layer").get_attr("function_cpp")


def test_every_row_has_a_proof():
    proved = {example.limit for example in EXAMPLES}
    proved |= {"simple recurrent layer", "unrolled too far"}
    # In tests/support, where QKeras and HGQ2 are installed.
    proved |= {"recurrent quantizers", "HGQ2 recurrent layer", "HGQ2 attention"}
    assert {limit.name for limit in LIMITS} == proved


def test_the_converters_are_those_of_hls4ml():
    from hls4ml.converters.keras_v2_to_hls import layer_handlers as second
    from hls4ml.converters.keras_v3 import layer_handlers as third

    layers = {
        name: layer for name in dir(L)
        if isinstance(layer := getattr(L, name), type) and layer.__name__ == name
    }  # fmt: skip
    known = {n for n, layer in layers.items() if f"{layer.__module__}.{n}" in third or n in second}
    assert known == CONVERTED & set(layers)
    assert {name for name in second if name.startswith("Q")} == CONVERTED_QKERAS
    assert not known & {*NOISE, "Rescaling", "Normalization"}


def test_activations_without_code_are_not_in_hls4mls_headers():
    header = (TEMPLATES / "vivado" / "nnet_utils" / "nnet_activation.h").read_text()
    for name in ("gelu", "silu", "mish", "celu", "exponential", "log_softmax", "hard_silu"):
        model = keras.Sequential([keras.Input((4,)), L.Activation(name, name="layer")])
        config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
        assert [finding.limit.name for finding in found_in(model, config)] == ["activation"]
        assert not re.search(rf"\bvoid {name}\(", header), name


def test_projects_partition_arrays_up_to_the_limit():
    for backend in ("vivado", "vitis"):
        script = (TEMPLATES / backend / "build_prj.tcl").read_text()
        assert "config_array_partition -maximum_size $maximum_size" in script
    writer = (TEMPLATES.parent / "writer" / "vivado_writer.py").read_text()
    assert f"'MaximumSize', '{LARGEST_UNROLLED}'" in writer
    model = keras.Sequential([keras.Input((70,)), L.Dense(60, name="large"), L.Dense(2, name="s")])
    section = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}
    (finding,) = found_in(model, {"Model": section})
    assert (finding.layer, finding.limit.verdict) == ("large", Verdict.WARNED)
    assert not found_in(model, {"Model": {**section, "Strategy": "Resource", "ReuseFactor": 10}})


def test_estimate_says_what_cannot_be_built():
    model = keras.Sequential([keras.Input((6,)), L.Rescaling(0.5, name="scale"), L.Dense(2)])
    found = fabricfit.estimate(model)
    assert "layer 'scale' (Rescaling): hls4ml cannot convert it" in str(found)
    assert found.to_dict()["remarks"]


def refused(model, X, y, folder, **config):
    section = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}
    settings = quick_settings(folder, loss_fn="mse", validation_metric="mse", increasing=False)
    budget = fabricfit.Budget.relative(dsp=0.5)
    whole = {"Model": section, **config}
    fabricfit.fit(model, (X, y), (X, y), budget, settings, hls_config=whole)


def test_fit_refuses_before_anything_is_written(tmp_path):
    line = keras.Input((8, 3))
    x = L.Flatten()(L.Conv1D(4, 3, dilation_rate=2, name="spread")(line))
    model = keras.Model(line, L.Dense(1, name="out")(x))
    rng = np.random.default_rng(0)
    with pytest.raises(
        InvalidInputError, match=r"layer 'spread' \(Conv1D\): hls4ml ignores the dil"
    ):
        refused(model, rng.normal(size=(32, 8, 3)), rng.normal(size=(32, 1)), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_optimize_warns_where_attributes_are_hls4mls(tmp_path):
    line = keras.Input((8, 3))
    x = L.Flatten()(L.Conv1D(4, 3, dilation_rate=2, name="spread")(line))
    model = keras.Model(line, L.Dense(1, name="out")(x))
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
    attributes = fabricfit.get_attributes_from_keras_model_and_hls4ml_config(model, config)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(32, 8, 3)).astype("float32"), rng.normal(size=(32, 1))
    settings = quick_settings(tmp_path, loss_fn="mse", validation_metric="mse", increasing=False)
    from fabricfit.objectives.vivado_objectives import VivadoDSPEstimator
    from fabricfit.scheduler import ConstantScheduler

    with pytest.warns(BuildWarning, match="layer 'spread'"):
        fabricfit.optimize(
            model, attributes, VivadoDSPEstimator, ConstantScheduler(0, 0.3, 0.3), data, data, settings
        )  # fmt: skip


def test_an_ordinary_model_meets_no_limit():
    image = keras.Input((9, 9, 2))
    x = L.Conv2D(4, 3, strides=2, activation="relu")(image)
    x = L.BatchNormalization()(x)
    x = L.DepthwiseConv2D(3, padding="same")(x)
    x = L.LeakyReLU()(x)
    x = L.Add()([x, L.Conv2D(4, 1)(x)])
    x = L.Dropout(0.1)(L.Flatten()(L.AveragePooling2D(2)(x)))
    model = keras.Model(image, L.Dense(3, activation="softmax")(x))
    section = {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}
    for io_type in ("io_parallel", "io_stream"):
        assert found_in(model, {"Model": section, "IOType": io_type}) == ()
