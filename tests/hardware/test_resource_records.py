"""One table of resources: what is added to it is estimated, limited, saved and reported."""

from __future__ import annotations

import numpy as np
import pytest

from fabricfit.description import LayerAttributes, hls4mlAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.hardware import (
    RESOURCES,
    Device,
    Resources,
    find_family,
    find_resource,
    resource_names,
    weight_costs,
)
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.estimation import estimate_layers
from fabricfit.objectives.fpga import FPGAResources
from fabricfit.selection.choice_targets import BudgetTarget, objective_for
from fabricfit.synthesis.comparison import compare
from fabricfit.synthesis.reports import SynthesisReport
from tests.hardware.made_up import POWER, power

KERNEL = np.random.default_rng(1).normal(size=(16, 8))


@pytest.fixture(autouse=True)
def _with_power():
    with power():
        yield


def layer(strategy="Latency", reuse_factor=1):
    hls = hls4mlAttributes(
        16, 8, "io_parallel", strategy, "fixed<8,3>", "fixed<16,6>", reuse_factor
    )
    found = LayerAttributes("fc", type("Dense", (), {}), [], (16, 8), (16,), (8,))
    return found.with_hls4ml(hls)


def test_the_built_in_resources_come_first():
    assert resource_names() == (*RESOURCES, "power")
    assert RESOURCES == ("dsp", "bram18", "uram", "lut", "ff")


def test_an_estimate_counts_it():
    found = estimate_layers({"fc": layer()}, {"fc": KERNEL})
    expected = 0.5 * found.layers[0].nonzeros + 8
    assert found.resources["power"].value == expected
    assert found.to_dict()["total"]["power"]["value"] == expected
    assert "POWER" in str(found)
    assert found.label("power") == "POWER"


def test_a_budget_limits_it():
    assert Budget(power=40).resources == ("power",)
    assert Budget(watts=2).limits({}) == {"power": 2000}
    assert Budget.relative(power=0.5).limits({"power": 72}) == {"power": 36}
    board = Device("board", "part", "7series", 220, 140, 0, 53_200, 106_400, {"watts": 2.5})
    assert Budget.device(board).limits({}) == {
        "dsp": 220, "bram18": 280, "lut": 53_200, "ff": 106_400, "power": 2500,
    }  # fmt: skip
    found = estimate_layers({"fc": layer()}, {"fc": KERNEL}, budget=Budget(power=10))
    assert not found.fits
    assert "POWER: 70 of 10: does not fit" in str(found)


@pytest.mark.parametrize("built", [("Latency", 1), ("Resource", 4)])
def test_an_objective_saves_it(built):
    budget, attributes = Budget(power=40), {"fc": layer(*built)}
    objective = objective_for(budget, attributes, {"fc": KERNEL})
    assert (objective.resources, objective.units) == (("power",), ("POWER",))
    attributes["fc"].optimizable = True
    attributes["fc"].optimization_attributes = objective.groups(attributes["fc"])
    target = BudgetTarget(attributes, objective, budget, {"fc": KERNEL})
    chosen = target.choose({"fc": KERNEL}, 1.0)
    left = np.count_nonzero(chosen.treatments["fc"].apply(KERNEL))
    assert 0 < left <= 64
    assert chosen.utilization[0] <= 40
    assert target.is_within({"fc": chosen.treatments["fc"].apply(KERNEL)}, 1.0)


def test_all_that_can_be_estimated_is_counted_by_default():
    assert FPGAResources().resources == ("dsp", "bram18", "lut", "ff", "power")


def test_a_weight_costs_what_its_law_makes_of_it():
    objective = FPGAResources(["power"])
    costs = weight_costs(objective.product(layer()))
    assert costs.kept["power"] == 0.5
    assert {amounts["power"] for amounts in costs.settled.values()} == {0.5}


def test_a_report_is_compared_with_it():
    report = SynthesisReport(
        "made up", "logic synthesis", "part", resources={"power": 80.0}, available={}
    )
    found = compare(report, estimate_layers({"fc": layer()}, {"fc": KERNEL}))
    assert found.to_dict()["resources"]["power"]["reported"] == 80
    assert "POWER" in str(found)


def test_labels_of_a_family_come_first():
    assert find_family("arria10").label("lut") == "ALUT"
    assert find_family("arria10").label("power") == POWER.label


@pytest.mark.parametrize(
    "call",
    [
        lambda: Budget(powr=3),
        lambda: Budget.relative(powr=0.3),
        lambda: find_resource("powr"),
        lambda: Resources(powr=3),
        lambda: FPGAResources(["powr"]),
        lambda: find_family("7series").label("powr"),
    ],
)
def test_a_name_that_is_not_in_the_table_is_refused_with_those_that_are(call):
    with pytest.raises(InvalidInputError, match=r"resource must be one of .*'power'.*'powr'"):
        call()


def test_a_resource_is_given_by_one_name():
    with pytest.raises(
        InvalidInputError, match=r"POWER must be given by one name, not by several.*watts=1"
    ):
        Budget(power=3, watts=1)
