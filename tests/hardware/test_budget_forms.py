"""Budgets in all the forms that people write."""

import pytest

from fabricfit import Budget
from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.hardware.budget_forms import as_budget
from fabricfit.hardware.devices import find_device


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("pynq-z2", Budget.device("pynq-z2")),
        ("pynq-z2@80%", Budget.device("pynq-z2", 0.8)),
        ("pynq-z2 @ 0.8", Budget.device("pynq-z2", 0.8)),
        ({"dsp": 100}, Budget(dsp=100)),
        ({"dsp": 100, "latency": "1us"}, Budget(dsp=100, latency="1us")),
        ({"dsp": "50%", "lut": "25 %"}, Budget.relative(dsp=0.5, lut=0.25)),
        ({"dsp": "0.5", "interval": "25ns"}, Budget.relative(dsp=0.5, interval="25ns")),
        ({"device": "zcu102", "fraction": "40%"}, Budget.device("zcu102", 0.4)),
        (
            {"device": "zcu102", "fraction": 0.4, "clock": "300MHz"},
            Budget.device("zcu102", 0.4, clock="300MHz"),
        ),
        ({"latency": "1us"}, Budget(latency="1us")),
    ],
)
def test_forms(given, expected):
    found = as_budget(given)
    assert found == expected
    assert repr(found) == repr(expected)


def test_budgets_and_devices_are_what_they_are():
    budget = Budget(dsp=3)
    assert as_budget(budget) is budget
    assert as_budget(find_device("pynq-z2")) == Budget.device("pynq-z2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("pynq-z3", "PYNQ-Z2"),
        ("pynq-z2@much", "'80%'"),
        ("pynq-z2@120%", "fraction"),
        ({"dps": 100}, "Did you mean 'dsp'"),
        ({"dsp": "50%", "lut": 1000}, "not both"),
        ({"device": "pynq-z2", "dsp": 100}, "not both"),
        ({"fraction": 0.5}, "the device"),
        ({"dsp": "half"}, "'80%'"),
        ({"dsp": "150%"}, "from 0 to 1"),
        ({"dsp": -1}, "at least 0"),
        ({}, "at least one"),
    ],
)
def test_what_is_no_budget_is_refused_with_the_way_out(given, said):
    with pytest.raises(InvalidInputError) as refused:
        as_budget(given)
    assert said in str(refused.value)


@pytest.mark.parametrize("given", [None, 100, 0.5, ["pynq-z2"]])
def test_other_types_are_refused(given):
    with pytest.raises(InvalidTypeError, match=r"limits must be a fabricfit\.Budget.*Received"):
        as_budget(given, "limits")
