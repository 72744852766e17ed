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
    ],
)
def test_what_is_no_budget_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        make()
    assert isinstance(caught.value, FabricFitError)


def test_budgets_compare_by_what_they_limit():
    assert Budget(dsp=1) == Budget(dsp=1)
    assert Budget(dsp=1) != Budget(dsp=2)
