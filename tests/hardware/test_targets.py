"""What a design is built for and with, and what that changes."""

from dataclasses import replace

import numpy as np
import pytest

from fabricfit.description.verdicts import Verdict, compare_with_limit
from fabricfit.errors import InvalidInputError
from fabricfit.hardware import (
    Product,
    Target,
    Work,
    find_target,
    find_tool,
    product_dsp,
    product_ff,
    product_latency,
    product_lut,
    product_resources,
    tools,
)
from fabricfit.hardware.adder_graphs import adder_graph_lut
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.synthesized import after_synthesis, graph_cost


@pytest.mark.parametrize(
    ("name", "laws"),
    [
        ("vivado", "Vivado HLS 2020.1"),
        ("Vivado", "Vivado HLS 2020.1"),
        ("VivadoAccelerator", "Vivado HLS 2020.1"),
        ("Vitis", "Vitis HLS 2024.1"),
        ("vitis hls 2023.2", "Vitis HLS 2024.1"),
        ("2022.1", "Vitis HLS 2021.1"),
        ("2020.2", "Vitis HLS 2021.1"),
        ("Vivado HLS 2019.1", "Vivado HLS 2019.2"),
        ("2018.3", "Vivado HLS 2019.2"),
        ("2031.2", "Vitis HLS 2024.1"),
    ],
)
def test_a_tool_is_found_by_its_version(name, laws):
    assert find_tool(name).name == laws
    assert laws in tools()


@pytest.mark.parametrize("name", ["Quartus", "catapult 2024.1", "", "vitis one"])
def test_a_tool_without_laws_is_refused(name):
    with pytest.raises(InvalidInputError, match="tool must be one of"):
        find_tool(name)


def test_a_target_says_what_it_is():
    target = Target("DSP48E1", clock_ns=3.33, tool="2023.1", binding="dsp")
    assert (target.family, target.tool) == ("7series", "Vitis HLS 2023.1")
    assert str(target) == "7series, 3.33 ns, Vitis HLS 2023.1, products in DSPs"
    assert find_target("7series") == Target("7series")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clock_ns": 0}, "clock_ns must be a period"),
        ({"clock_ns": "5"}, "clock_ns must be a period"),
        ({"clock_ns": True}, "clock_ns must be a period"),
        ({"binding": "luts"}, "binding must be"),
        ({"family": "zynq"}, "family must be"),
        ({"tool": "quartus"}, "tool must be"),
    ],
)
def test_a_wrong_target_is_refused(wrong, message):
    with pytest.raises(InvalidInputError, match=message):
        Target(**wrong)


@pytest.fixture
def layer():
    kernel = np.random.default_rng(0).integers(-127, 128, (32, 16))
    product = Product(32, 16, 8, 8)
    return product, Work.of(product, kernel)


def test_a_shorter_clock_needs_more_registers_and_cycles(layer):
    product, work = layer
    slow, fast = (Target("7series", clock, "vitis 2021.1") for clock in (10.0, 3.33))
    assert product_ff(product, work, fast).value > 2 * product_ff(product, work, slow).value
    assert product_latency(product, work, fast).value > product_latency(product, work, slow).value


def test_a_slower_family_needs_more_registers(layer):
    product, work = layer
    families = (Target(family, 5.0, "vitis 2021.1") for family in ("ultrascale+", "7series"))
    fast, slow = (product_ff(product, work, target).value for target in families)
    assert slow > 1.5 * fast


def test_the_binding_of_products_decides(layer):
    product, work = layer
    vitis = Target(tool="vitis 2024.1")
    dsp, fabric = replace(vitis, binding="dsp"), replace(vitis, binding="fabric")
    assert product_dsp(product, work, dsp).value == work.hard
    assert product_dsp(product, work, fabric).value == 0
    assert product_dsp(product, work, vitis).value == 0  # at most 8 + 8 bits
    assert product_lut(product, work, fabric).value > product_lut(product, work, dsp).value


@pytest.mark.parametrize("inputs", [8, 11, 12, 13, 16])
def test_vitis_binds_wide_products_to_dsps(inputs):
    kernel = np.array([[0, 1, 3, 11, 13, 19, 45, 85, 127, -107]])
    product = Product(1, 10, 8, inputs)
    found = product_dsp(product, Work.of(product, kernel), Target(tool="vitis"))
    bits = np.array([5, 5, 6, 7, 8, 8])  # of 11, 13, 19, 45, 85 and -107; 127 has two digits
    assert found.value == np.count_nonzero(bits + inputs >= 20)


def test_large_layers_of_constants_are_chains():
    small, large = Product(64, 64, 8, 8), Product(342, 33, 8, 8)
    target = Target("7series", 5.0, "vitis 2021.1")
    cycles = [product_latency(p, Work.full(p), target).value for p in (small, large)]
    assert cycles[0] <= 9
    assert cycles[1] == 171


def test_constants_in_wide_types_cost_their_own_bits():
    kernel = np.zeros((16, 8), int)
    kernel[::4] = 1 << 9
    wide = Product(16, 8, 16, 2, 32, 32)
    narrow = Product(16, 8, 2, 2, 6, 6)
    works = [Work.of(wide, kernel), Work.of(narrow, np.minimum(kernel, 1))]
    luts = [product_lut(p, w).value for p, w in zip((wide, narrow), works, strict=True)]
    assert luts[0] == luts[1] < 300


def test_other_versions_and_clocks_have_wider_bars(layer):
    product, work = layer
    known = product_resources(product, work, Target("7series", 5.0, "vitis 2021.1"))
    for other in (
        Target("7series", 5.0, "vitis 2022.1"),
        Target("7series", 12.0, "vitis 2021.1"),
        Target("ultrascale+", 5.0, "vitis 2021.1"),
    ):
        found = product_resources(product, work, other)["lut"]
        assert found.high / found.value > known["lut"].high / known["lut"].value
        assert "not measured" in found.note


def test_logic_synthesis_leaves_about_half_of_the_luts(layer):
    product, work = layer
    found = product_resources(product, work)
    left = after_synthesis(found, product, work)
    assert 0.45 <= left["lut"].value / found["lut"].value <= 0.53
    assert left["dsp"] == found["dsp"]


@pytest.mark.parametrize("inputs", [4, 8, 16])
@pytest.mark.parametrize("density", [0.1, 0.4, 1.0])
def test_graphs_of_adders_are_counted_by_digits(inputs, density):
    pytest.importorskip("alkaid", exc_type=ImportError)
    rng = np.random.default_rng(0)
    kernel = np.round(rng.normal(size=(32, 16)) * 12).astype(int) * (rng.random((32, 16)) < density)
    product = Product(32, 16, 6, inputs, strategy="distributed_arithmetic")
    work = Work.of(product, kernel)
    counted = adder_graph_lut(kernel, inputs)
    assert graph_cost(product, work) == pytest.approx(counted, rel=0.2)
    left = after_synthesis(product_resources(product, work), product, work)["lut"]
    assert left.value == pytest.approx(1.23 * graph_cost(product, work))
    assert left.low <= 1.21 * counted and 1.26 * counted <= left.high


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        (120, Verdict.FITS),
        (110, Verdict.MAY_FIT),
        (100, Verdict.MAY_FIT),
        (99, Verdict.DOES_NOT_FIT),
    ],
)
def test_there_are_three_verdicts(limit, verdict):
    assert compare_with_limit(100, 120, limit) is verdict


def test_a_budget_says_what_it_is_for():
    board = Budget.device("pynq-z2")
    assert board.target == Target("7series", 10.0, part="xc7z020")
    assert board.stage == "logic synthesis"
    assert Budget(dsp=5).stage == "hls"
    assert board.target_with({"clock_ns": 8.0}).clock_ns == 8
    assert Budget.device("pynq-z2", clock_ns=4).target_with({"clock_ns": 8.0}).clock_ns == 4
    assert Budget(dsp=5, tool="2021.1", binding="dsp").target.tool == "Vitis HLS 2021.1"
    for wrong in ({"margin": 2}, {"margin": True}, {"stage": "placed"}, {"clock_ns": -1}):
        with pytest.raises(InvalidInputError):
            Budget(dsp=5, **wrong)
    assert Budget(dsp=5).with_margin(1).margin == 1
