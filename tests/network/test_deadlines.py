"""Estimates of models beside deadlines."""

import dataclasses

import keras
import pytest

import fabricfit
from fabricfit import Budget
from fabricfit.description.verdicts import Verdict
from fabricfit.hardware import Estimate
from fabricfit.hls4ml.estimation import ModelEstimate
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

L = keras.layers


@pytest.fixture(scope="module")
def model():
    layers = [keras.Input((16,)), L.Dense(64, activation="relu", name="fc"), L.Dense(4, name="out")]
    return keras.Sequential(layers)


def configure(reuse=64, strategy="Resource", **more):
    model = {"Precision": "fixed<16,6>", "ReuseFactor": reuse, "Strategy": strategy}
    return {"Model": model, **more}


def test_deadlines_have_a_verdict_each(model):
    free = fabricfit.estimate(model, configure())
    assert free.latency_ns == 5 * free.latency.value and free.interval_ns == 5 * 64
    assert free.verdicts == {} and "interval:" not in str(free)
    budget = Budget(dsp=10**4, latency=free.latency_ns, interval="100ns")
    found = fabricfit.estimate(model, configure(), budget=budget)
    assert found.verdicts["interval"] is found.verdict is Verdict.DOES_NOT_FIT
    assert found.verdicts["latency"] is Verdict.MAY_FIT and not found.fits
    assert "interval: 64 cycles, 320 ns of 100 ns: does not fit" in str(found)
    told = found.to_dict()
    assert told["verdicts"] == {"dsp": "fits", "latency": "may fit", "interval": "does not fit"}
    assert told["deadlines"] == {"latency": free.latency_ns, "interval": 100}
    assert told["latency_ns"] == free.latency_ns and told["interval_ns"] == 320
    assert told["limits"] == {"dsp": 10**4}


def test_deadlines_alone_are_compared(model):
    found = fabricfit.estimate(model, Budget(latency="1us", interval="20ns"))
    assert found.surely_fits and set(found.verdicts) == {"latency", "interval"}
    assert "interval: 1 cycle, 5 ns of 20 ns: fits" in str(found)


def test_any_layer_may_turn_out_to_be_the_slowest(model):
    first, second = fabricfit.estimate(model).layers
    wide = dataclasses.replace(first, interval=Estimate(8, 8, 20))
    slow = dataclasses.replace(second, interval=Estimate(10, 10, 10))
    assert ModelEstimate((wide, slow)).interval == Estimate(10, 10, 20)


def test_cycles_are_of_the_clock_that_is_built_for(model):
    deadline = Budget(interval="320ns")
    assert fabricfit.estimate(model, configure(), budget=deadline).fits
    assert not fabricfit.estimate(model, configure(), budget=deadline, clock_ns=6).fits
    assert not fabricfit.estimate(model, configure(ClockPeriod=6), budget=deadline).fits
    fast = Budget(interval="320ns", clock="200MHz")
    assert fabricfit.estimate(model, configure(ClockPeriod=6), budget=fast).fits


def test_a_stream_takes_as_long_as_its_pixels():
    layers = [keras.Input((16, 16, 1)), L.Conv2D(4, 3, name="c"), L.Flatten(), L.Dense(2, name="d")]
    budget = Budget(interval="1us", latency="100us")
    found = fabricfit.estimate(
        keras.Sequential(layers), configure(9, IOType="io_stream"), budget=budget
    )
    assert found.verdicts["interval"] is Verdict.DOES_NOT_FIT
    assert found.verdicts["latency"] is Verdict.FITS
