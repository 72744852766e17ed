"""Runs for a clock, a part, a compiler, a stage, a margin; and for streams whose FIFOs do not fit."""

import keras
import numpy as np
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.description.verdicts import Verdict
from fabricfit.errors import InfeasibleError, InvalidInputError
from fabricfit.hls4ml.checking import ConfigurationWarning
from tests.common import quick_settings
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers
LATENCY = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
RESOURCE = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 4, "Strategy": "Resource"}}


@pytest.fixture
def settings(tmp_path):
    return quick_settings(
        tmp_path, batch_size=16, epochs=1, rewinding_epochs=0,
        loss_fn="mse", validation_metric="mse", increasing=False,
    )  # fmt: skip


def data(shape, outputs=2):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(32, *shape)).astype("float32")
    return inputs, rng.normal(size=(32, outputs)).astype("float32")


@pytest.fixture
def dense():
    return keras.Sequential([keras.Input((16,)), L.Dense(24, name="a"), L.Dense(2, name="b")])


def run(model, config, budget, settings, **options):
    samples = data(model.input_shape[1:])
    return fabricfit.fit(
        model, samples, samples, budget, settings, hls_config=config, precision="given", **options
    )


def test_the_report_says_what_was_counted(dense, settings):
    budget = Budget.device("pynq-z2", keep=("dsp", "lut"))
    report = run(dense, LATENCY | {"ClockPeriod": 8}, budget, settings).report
    assert report.counted == "after logic synthesis, for 7series, 8 ns, Vivado HLS 2020.1"
    assert report.counted in str(report)
    assert len(report.highest) == 2
    assert all(
        high >= used for high, used in zip(report.highest, report.resources_after, strict=True)
    )


def test_after_is_what_an_estimate_says(dense, settings):
    options = {"tool": "vitis 2023.2", "part": "xc7z020clg400-1", "clock_ns": 4.0}
    budget = Budget.relative(lut=0.7, dsp=0.9)
    result = run(dense, LATENCY, budget, settings, **options)
    found = fabricfit.estimate(result.model, result.hls_config, **options)
    report = result.report
    assert report.resources_after == pytest.approx(
        [found.resources[n].value for n in ("dsp", "lut")]
    )
    assert report.highest == pytest.approx([found.resources[n].high for n in ("dsp", "lut")])
    assert report.fits


def test_a_board_counts_what_logic_synthesis_leaves(dense, settings):
    used = fabricfit.estimate(dense, LATENCY)
    limit = 0.9 * used.synthesized["lut"].value
    budget = Budget(lut=limit, stage="logic synthesis")
    report = run(dense, LATENCY, budget, settings).report
    assert report.resources_before[0] == pytest.approx(used.synthesized["lut"].value)
    assert report.resources_after[0] <= limit


def test_a_margin_demands_the_upper_end(settings):
    model = keras.Sequential([keras.Input((8,)), L.Dense(8, name="a"), L.Dense(2, name="b")])
    used = fabricfit.estimate(model, LATENCY).resources["lut"]
    budget = Budget(lut=0.9 * used.value)
    likely = run(model, LATENCY, budget, settings).report
    surely = run(model, LATENCY, budget, settings, margin=1).report
    assert likely.verdict is Verdict.MAY_FIT and "may fit (LUT up to" in str(likely)
    assert surely.verdict is Verdict.FITS and surely.highest == surely.resources_after
    assert "100% of the error bars included" in surely.counted
    with pytest.raises(InvalidInputError, match="margin must be a number from 0 to 1"):
        run(model, LATENCY, budget, settings, margin=1.5)


def test_products_bound_to_luts_use_no_dsp(dense, settings):
    report = run(dense, LATENCY, Budget(dsp=0, lut=10**6), settings, binding="fabric").report
    assert report.resources_before[0] == report.resources_after[0] == 0


def test_an_accelerator_keeps_the_multipliers_of_zeros(dense, settings):
    config = RESOURCE | {"Backend": "VivadoAccelerator"}
    with pytest.raises(InvalidInputError, match="keeps multipliers for zeros"):
        run(dense, config, Budget(dsp=50), settings)
    result = run(dense, LATENCY | {"Backend": "VivadoAccelerator"}, Budget(dsp=300), settings)
    assert result.report.fits and "7series" in result.report.counted


def test_fifos_that_do_not_fit_are_counted_short(settings):
    layers = [keras.Input((24, 24, 2)), L.Conv2D(8, 3, activation="relu", name="a")]
    layers += [L.Conv2D(8, 3, name="b"), L.GlobalAveragePooling2D(), L.Dense(2, name="d")]
    model = keras.Sequential(layers)
    config = {"IOType": "io_stream", "Model": RESOURCE["Model"] | {"ReuseFactor": 9}}
    fifos = fabricfit.estimate(model, config).layers[-1].resources["bram18"].value
    assert fifos == 24  # three of 8 channels of 16 bits
    with pytest.warns(ConfigurationWarning, match="fifo_depth_optimization"):
        result = run(model, config, Budget(bram18=fifos - 4), settings)
    assert result.report.fits
    with pytest.raises(InfeasibleError):
        run(model, config, Budget(bram18=1), settings)
