"""Budgets in units, of devices, and in parts of what a model takes."""

import pytest

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.hardware.budget import Budget


def test_a_ramb36_is_two_ramb18():
    budget = Budget(dsp=220, bram36=140)
    assert budget.limits({}) == {"dsp": 220, "bram18": 280}
    assert budget.resources == ("dsp", "bram18")


def test_a_device_limits_all_that_it_has():
    budget = Budget.device("PYNQ-Z2")
    assert budget.limits({}) == {"dsp": 220, "bram18": 280, "lut": 53200, "ff": 106400}
    assert budget.family == "7series"
    assert "PYNQ" in repr(budget)


def test_a_part_of_a_device_is_rounded_down():
    limits = Budget.device("pynq-z2", fraction=0.33).limits({})
    assert limits == {"dsp": 72, "bram18": 92, "lut": 17556, "ff": 35112}


def test_single_resources_of_a_device():
    assert Budget.device("pynq-z2", keep=("dsp",)).limits({}) == {"dsp": 220}


def test_a_relative_budget_is_of_what_the_model_takes():
    budget = Budget.relative(dsp=0.5, bram36=0.25)
    assert budget.is_relative
    assert budget.limits({"dsp": 1065, "bram18": 10, "lut": 7}) == {"dsp": 532, "bram18": 2}
    assert Budget.relative(dsp=0.1).limits({"dsp": 10}) == {"dsp": 1}  # 1.0000000000000002


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(), "at least one of dsp"),
        (lambda: Budget(dsp=-1), "dsp=-1"),
        (lambda: Budget(lut=float("nan")), "lut=nan"),
        (
            lambda: Budget(bram18=2, bram36=1),
            "one name, not by several. Received: bram18=2, bram36=1",
        ),
        (lambda: Budget.device("pynq-z9"), "pynq-z9"),
        (lambda: Budget.device("pynq-z2", fraction=1.2), "fraction=1.2"),
        (lambda: Budget.relative(dsp=50), "dsp=50"),
        (lambda: Budget.relative(luts=0.5), "luts"),
        (lambda: Budget(dsp=1, latency="soon"), "latency must be a time above 0"),
        (lambda: Budget.device("pynq-z2", interval=0), "interval=0"),
        (lambda: Budget.relative(dsp=0.5, clock="5 Watt"), "clock='5 Watt'"),
        (lambda: Budget(dsp=1, clock="200MHz", clock_ns=5), "once. Received: clock='200MHz'"),
    ],
)
def test_what_is_no_budget_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        make()
    assert isinstance(caught.value, FabricFitError)


def test_budgets_compare_by_what_they_limit():
    assert Budget(dsp=1) == Budget(dsp=1)
    assert Budget(dsp=1) != Budget(dsp=2)


DEADLINES = {"latency": "1us", "interval": 25, "clock": "200MHz"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Budget(dsp=220, **DEADLINES),
        lambda: Budget(**DEADLINES),
        lambda: Budget.device("zcu102", **DEADLINES),
        lambda: Budget.relative(dsp=0.5, **DEADLINES),
    ],
)
def test_deadlines_are_part_of_a_budget_of_any_form(make):
    budget = make()
    same = (budget.with_margin(1), budget.with_target(budget.target), budget.without_family())
    for each in (budget, *same):
        assert each.deadlines == {"latency": 1000, "interval": 25}
        assert "latency='1us', interval='25ns')" in repr(each)
        assert each.target.clock_ns == 5
    assert not {"latency", "interval"} & {*budget.resources, *budget.limits({"dsp": 10})}


def test_deadlines_tell_budgets_apart():
    assert Budget(dsp=1, latency="1us") == Budget(dsp=1, latency=1000.0) != Budget(dsp=1)
    assert Budget(dsp=1).deadlines == {} and Budget(latency=5).resources == ()


def test_a_clock_is_given_as_a_frequency_or_a_period():
    made = (Budget(dsp=1, **{name: value}) for name, value in
            (("clock", "0.2 GHz"), ("clock", "5ns"), ("clock", 5), ("clock_ns", 5)))  # fmt: skip
    assert {budget.clock_ns for budget in made} == {5}
