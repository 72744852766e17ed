"""DSPs and block RAM of whole layers: synthesis results, vendors' shapes, and what must hold in between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.hardware import (
    Device,
    Estimate,
    Family,
    Product,
    Resources,
    Work,
    devices,
    dsps_per_multiplier,
    families,
    find_device,
    find_family,
    memory_blocks,
    product_dsp,
    product_memory,
    product_resources,
    register_device,
    register_family,
    weight_costs,
)

from .synthesis_runs import read_runs

CHECKED = (96, 224)
"""Inputs of the rows that the laws are judged by; the forms were found on the others."""


@pytest.fixture(scope="module")
def rows():
    result = []
    for row, product, kernel in read_runs():
        if kernel is None and product.by_constants:
            continue
        work = Work.full(product) if kernel is None else Work.of(product, kernel)
        dsp, bram = (int(float(row[name])) for name in ("DSP_hls", "BRAM_18K_hls"))
        result.append((product, work, dsp, bram))
    return result


def test_dsps_of_multiplexed_layers_are_exact(rows):
    checked = [r for r in rows if r[0].time_multiplexed and r[0].weight_width >= 8]
    assert len(checked) == 249
    assert all(product_dsp(p, w).value == dsp for p, w, dsp, _ in checked)


def test_dsps_of_constants_are_exact_where_nothing_is_shared(rows):
    checked = [r for r in rows if r[0].by_constants and r[0].reuse_factor == 1]
    assert len(checked) == 40
    assert all(product_dsp(p, w).value == dsp for p, w, dsp, _ in checked)


def test_shared_multipliers_of_latency_are_the_limit_or_one_more(rows):
    checked = [r for r in rows if r[0].strategy == "latency" and r[0].reuse_factor > 1]
    assert len(checked) == 40
    for product, work, dsp, _ in checked:
        found = product_dsp(product, work)
        assert found.low <= dsp <= found.high
        assert dsp - found.value in (0, 1)


def test_all_dsps_are_inside_their_error_bars(rows):
    for product, work, dsp, _ in rows:
        found = product_dsp(product, work)
        assert found.low <= dsp <= found.high, product


def test_block_ram_is_exact_or_off_by_one(rows):
    off = {True: [], False: []}
    for product, work, _, bram in rows:
        if product.reuse_factor <= 1024:
            off[product.n_in in CHECKED].append(bram - product_memory(product, work).value)
    for part in off.values():
        assert set(part) <= {0, 1}
        assert np.mean(np.array(part) == 0) > 0.98
    deep = [
        (product_memory(p, w), bram) for p, w, _, bram in rows if p.reuse_factor > 1024 and bram
    ]
    assert all(found.low <= bram <= found.high for found, bram in deep)


def test_memory_follows_the_shapes_of_a_block():
    assert [memory_blocks(36, depth) for depth in (1, 512, 513, 1024, 1025, 1536)] == [
        1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert memory_blocks(9, 2048) == 1
    assert memory_blocks(1, 40_000) == 3
    assert memory_blocks(40, 512, "arria10") == 1
    assert memory_blocks(41, 512, "arria10") == 2
    assert memory_blocks(40, 1024, "arria10") == 2


@given(st.integers(1, 2000), st.integers(1, 5000))
def test_memory_is_monotone_and_holds_all_bits(width, depth):
    blocks = memory_blocks(width, depth)
    assert blocks * 18 * 1024 >= width * depth
    assert memory_blocks(width + 1, depth) >= blocks
    assert memory_blocks(width, depth + 1) >= blocks


def test_wide_products_are_split_by_the_ports_of_the_family():
    assert [dsps_per_multiplier(w, 18, "7series") for w in (25, 26)] == [1, 2]
    assert [dsps_per_multiplier(w, 18) for w in (27, 28)] == [1, 2]
    assert [dsps_per_multiplier(w, 24, "versal") for w in (27, 28)] == [1, 2]
    assert dsps_per_multiplier(27, 27, "arria10") == 1


def test_two_narrow_products_share_an_intel_block():
    product = Product(16, 16, 16, strategy="resource_unrolled", reuse_factor=4)
    assert product_dsp(product, Work.full(product)).value == 64
    assert product_dsp(product, Work.full(product), "arria10").value == 32
    wide = Product(16, 16, 24, strategy="resource_unrolled", reuse_factor=4)
    assert product_dsp(wide, Work.full(wide), "arria10").value == 64
    assert product_dsp(product, Work.full(product), "arria10").note


products = st.builds(
    Product,
    st.sampled_from([4, 8, 16]),
    st.sampled_from([4, 8]),
    st.sampled_from([4, 6, 8, 12, 16, 20]),
    strategy=st.sampled_from(
        ["latency", "resource", "resource_unrolled", "distributed_arithmetic"]
    ),
    reuse_factor=st.sampled_from([1, 2, 4]),
    copies=st.sampled_from([1, 3]),
)


@given(products, st.integers(0, 2**32 - 1), st.sampled_from(["7series", "ultrascale+", "arria10"]))
def test_pruning_never_costs(product, seed, family):
    rng = np.random.default_rng(seed)
    limit = 2 ** (product.weight_width - 1)
    kernel = rng.integers(-limit, limit, (product.n_in, product.n_out))
    pruned = kernel * (rng.random(kernel.shape) < 0.6)
    dense = product_resources(product, Work.of(product, kernel), family)
    fewer = product_resources(product, Work.of(product, pruned), family)
    for name, estimate in fewer.items():
        assert estimate.value <= dense[name].value + 1e-9, name
        assert estimate.low <= estimate.value <= estimate.high


@given(products, st.integers(0, 2**32 - 1))
def test_work_is_that_of_any_order_of_inputs_and_outputs(product, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-40, 40, (product.n_in, product.n_out))
    product = Product(product.n_in, product.n_out, 8)
    mixed = kernel[rng.permutation(product.n_in)][:, rng.permutation(product.n_out)]
    assert Work.of(product, kernel) == Work.of(product, mixed)


def test_work_by_hand():
    product = Product(2, 4, 8, strategy="resource_unrolled", reuse_factor=2)
    kernel = np.array([[19, 19, 0, 4], [11, -11, 0, 3]])
    assert Work.of(product, kernel) == Work(
        multipliers=3, nonzeros=6, constants=2, adders=1, digits=3 + 3 + 1 + 3 + 3 + 2, small=1
    )


def test_all_that_a_weight_takes_adds_up_to_the_layer():
    product = Product(32, 32, 16)
    rng = np.random.default_rng(0)
    kernel = rng.integers(-(2**10), 2**10, (32, 32))  # ±1 in 10 fractional bits
    work = Work.of(product, kernel)
    whole, costs = product_resources(product, work), weight_costs(product)
    sums = {
        name: work.nonzeros * costs.kept.get(name, 0) + work.constants * costs.distinct.get(name, 0)
        for name in ("dsp", "lut")
    }
    assert sums["dsp"] == whole["dsp"].value
    assert sums["lut"] == pytest.approx(whole["lut"].value, rel=0.1)


def test_devices_by_board_part_and_order_code():
    assert find_device("pynq z2") is find_device("PYNQ-Z2")
    assert find_device("xc7z020clg400-1").dsp == 220
    assert find_device("xcu250-figd2104-2L-e").name == "Alveo U250"
    assert len(devices()) >= 20
    for device in devices():
        assert device.family in families()
        assert min(device.dsp, device.bram36, device.lut) > 0
        assert find_device(device.name) is device
        assert find_device(device.part).part == device.part


def test_an_unknown_device_is_refused_with_those_spelled_alike():
    with pytest.raises(InvalidInputError, match="PYNQ-Z2"):
        find_device("pynq-z3")


def test_a_user_adds_a_device_and_a_family():
    register_family(Family("mine", "DSPX", ((9, 9, 4),), ((512, 36),)))
    mine = register_device(Device("My Board", "xy1", "mine", 10, 5.5, 0, 100, 200))
    assert find_device("my-board") is mine
    assert find_family("dspx").dsp_ports == (9, 9)
    with pytest.raises(InvalidInputError, match="dsp=-1"):
        Device("bad", "x", "mine", -1, 0, 0, 0, 0)
    with pytest.raises(InvalidInputError, match="family must be one of"):
        Device("bad", "x", "nobody's", 1, 1, 1, 1, 1)


def test_estimates_add_with_their_error_bars():
    first, second = Estimate(10, 8, 12, "a"), Estimate(5, 5, 9, "a")
    both = Resources(lut=first) + Resources(lut=second, dsp=2)
    assert both["lut"] == Estimate(15, 13, 21, "a")
    assert both["dsp"] == Estimate.exact(2)
    assert both.times(2)["lut"].high == 42
    assert both.notes == ("a",)
    assert "lut=15 (13 … 21)" in repr(both)
    with pytest.raises(InvalidInputError, match="between its ends"):
        Estimate(3, 4, 5)
    with pytest.raises(InvalidInputError, match="'dsps'"):
        Resources(dsps=1)
