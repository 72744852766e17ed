"""hls4ml's VivadoAccelerator: the network inside of its AXI wrapper is verified bit for bit."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hls4ml = pytest.importorskip("hls4ml")

import fabricfit
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.firmware import verification
from fabricfit.firmware.accelerator import Wrapper, project_options, read_wrapper
from fabricfit.firmware.simulation import CapturedOutput, Results, compile_project, convert
from fabricfit.firmware.verification import verify
from tests.common import quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
NAME = "VivadoAccelerator"


def small_model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(3, activation="relu", name="fc1"),
        keras.layers.Dense(2, name="fc2"),
    ]
    return keras.Sequential(layers)


def config(precision="fixed<16,6>", **accelerator):
    layers = {"Model": {"Precision": precision, "ReuseFactor": 1, "Strategy": "Latency"}}
    section = {"Precision": {"Input": "float", "Output": "float"}} | accelerator
    return {
        "Backend": NAME,
        "Part": "xcvu13p-flga2577-2-e",
        "ClockPeriod": 10,
        "AcceleratorConfig": section,
        "HLSConfig": layers,
    }


def samples():
    """Make numbers that a float rounds up to the next unit of the input's format."""
    X = np.random.default_rng(0).normal(size=(40, 4))
    X[:20] = np.round(X[:20] * 1024) / 1024 - 2.0**-40
    return X


@COMPILER
def test_the_network_in_the_wrapper_is_verified(tmp_path):
    found = verify(small_model(), config(), samples(), output_dir=tmp_path)
    assert found.outputs_agree, str(found)
    assert not found.mismatches
    project = (tmp_path / "project.tcl").read_text()
    assert 'set part "xc7z020clg400-1"' in project
    assert "set clock_period 10" in project


@pytest.mark.slow
@COMPILER
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_results_finer_than_a_float(io_type):
    wide = {"default": "fixed<40,6>", "weight": "fixed<12,3>", "bias": "fixed<12,3>"}
    found = verify(small_model(), config(wide, Board="pynq-z2"), samples(), io_type=io_type)
    assert found.outputs_agree, str(found)


@COMPILER
def test_a_wrapper_of_fixed_point_numbers_does_not_compile(tmp_path):
    """hls4ml 1.3 names a type in the wrapper that C++ does not know; its script ends well all the same."""
    settings = config()["HLSConfig"]
    options = {"board": "pynq-z2", "input_type": "ap_fixed<16,6>"}
    output = CapturedOutput()
    hls_model = convert(
        small_model(), settings, tmp_path, output,
        backend=NAME, io_type="io_parallel", options=options,
    )  # fmt: skip
    with pytest.raises(FabricFitError, match="could not be compiled"):
        compile_project(hls_model)


@pytest.mark.parametrize(
    "options", [{"interface": "axi_lite"}, {"interface": "axi_master"}, {"driver": "c"}]
)
def test_hls4ml_stops_at_other_interfaces_and_drivers(tmp_path, options):
    with pytest.raises(FabricFitError, match="cannot convert"):
        convert(
            small_model(), config()["HLSConfig"], tmp_path, CapturedOutput(),
            backend=NAME, io_type="io_parallel", options={"board": "pynq-z2"} | options,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"Interface": "axi_lite"}, r"\['Interface'\] must be one of 'axi_stream'"),
        ({"Driver": "c"}, r"\['Driver'\] must be one of 'python'"),
        ({"Board": "zcu104"}, "Did you mean 'zcu102'"),
        ({"Precision": {"Input": "ap_fixed<16,6>", "Output": "float"}}, "does not compile"),
    ],
)
def test_what_cannot_be_built_is_refused(section, named):
    with pytest.raises(InvalidInputError, match=named):
        verify(small_model(), config(**section), compile=False)


def test_several_inputs_are_refused():
    ends = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(ends, keras.layers.Add()(ends))
    with pytest.raises(InvalidInputError, match=r"one input and one output.* 2 inputs"):
        project_options(NAME, {}, None, model)


def test_part_and_clock_of_a_project():
    model = small_model()
    assert project_options("Vitis", {}, None, model) == {}
    plain = {"Part": "xc7z020clg400-1", "ClockPeriod": 4}
    assert project_options("Vitis", plain, None, model) == {
        "part": "xc7z020clg400-1",
        "clock_period": 4,
    }
    other = project_options("Vitis", plain | {"Backend": "Quartus"}, None, model)
    assert other == {"clock_period": 4}
    asked = project_options("Vivado", plain, "xcku115-flvb2104-2-i", model)
    assert asked["part"] == "xcku115-flvb2104-2-i"
    board = project_options(NAME, {}, "xczu9eg-ffvb1156-2-e", model)
    assert (board["board"], board["input_type"]) == ("zcu102", "float")


@pytest.mark.parametrize(
    ("project", "part", "family"),
    [
        (config(Board="pynq-z2"), None, "7series"),
        (config(), None, "7series"),
        (config(Board="zcu102"), None, "ultrascale+"),
        ({**config(), "Backend": "Vitis"}, None, "ultrascale+"),
        ({**config(), "Backend": "Vitis"}, "xc7z020clg400-1", "7series"),
    ],
)
def test_verilog_is_synthesized_for_the_part_of_the_board(monkeypatch, project, part, family):
    asked = []
    monkeypatch.setattr(verification, "require_simulator", lambda: None)
    monkeypatch.setattr(verification, "QuantizedNetwork", lambda *args: None)
    monkeypatch.setattr(verification, "make_design", lambda quantized: None)
    monkeypatch.setattr(verification, "verify_design", lambda *args, family: asked.append(family))
    verify(small_model(), project, samples(), part=part, compile=False, rtl=True)
    assert asked == [family]


def test_a_wrapper_that_gives_something_else_is_seen():
    layers = [SimpleNamespace(name="fc2", outputs=["fc2"])]
    hls_model = SimpleNamespace(outputs=["fc2"], get_layers=lambda: layers)
    inside = np.array([[1 + 2.0**-40, 2.0]])
    wrapper = Wrapper("float", "float")
    given = wrapper.unwrap(hls_model, Results({"fc2": inside}, [np.array([[1.0, 2.0]])]))
    assert np.array_equal(given.outputs[0], inside)
    wrong = wrapper.unwrap(hls_model, Results({"fc2": inside}, [np.array([[1.0, 3.0]])]))
    assert np.array_equal(wrong.outputs[0], [[1.0, 3.0]])
    assert np.array_equal(wrapper.pass_inputs([inside])[0], [[1.0, 2.0]])
    other = SimpleNamespace(config=SimpleNamespace(backend=SimpleNamespace(name="Vitis")))
    assert read_wrapper(other) == Wrapper("double", "double")


def test_backends_that_are_not_emulated_are_refused_by_name():
    for name in ("Quartus", "oneAPI", "Catapult", "Libero"):
        with pytest.raises(InvalidInputError, match=f"Received: backend='{name}'"):
            verify(small_model(), config()["HLSConfig"], backend=name.lower())
    with pytest.raises(InvalidInputError, match="backend='Quartus'"):
        verify(small_model(), config() | {"Backend": "Quartus"})


def test_estimates_say_what_is_not_known_of_a_backend():
    def remarks(**project):
        return fabricfit.estimate(small_model(), config() | project).remarks

    assert any("AXI wrapper" in remark for remark in remarks())
    assert not any("AXI wrapper" in remark for remark in remarks(Backend="Vitis"))
    assert any("Intel's handbooks" in remark for remark in remarks(Backend="Quartus"))
    with pytest.raises(InvalidInputError, match="ASIC"):
        remarks(Backend="Catapult", Technology="asic")


def test_a_realized_configuration_keeps_the_project():
    found = fabricfit.firmware.realize(small_model(), config(Board="pynq-z2"))
    assert found.config["Backend"] == NAME
    assert found.config["AcceleratorConfig"]["Board"] == "pynq-z2"


def test_a_fit_keeps_to_what_hls4ml_can_build(tmp_path):
    layers = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2, "Strategy": "Resource"}}
    X, y = np.zeros((8, 4), "float32"), np.zeros((8, 2), "float32")
    settings = quick_settings(
        tmp_path, batch_size=8, loss_fn="mse", validation_metric="mse", increasing=False
    )

    def fit(dsp):
        budget = fabricfit.Budget.relative(dsp=dsp)
        return fabricfit.fit(
            small_model(),
            (X, y),
            (X, y),
            budget,
            settings,
            hls_config=config() | {"HLSConfig": layers},
        )

    with pytest.raises(fabricfit.errors.InfeasibleError):
        fit(
            0.4
        )  # fc1 uses six of twelve, and ResourceUnrolled, which drops its zeros, is not built
    assert not list(tmp_path.iterdir())
    result = fit(0.5)
    assert "keeps multipliers for zeros" in result.report.layers[0].remark
    strategies = [
        layer["Strategy"] for layer in result.hls_config["HLSConfig"]["LayerName"].values()
    ]
    assert "ResourceUnrolled" not in strategies
