"""LUTs and flip-flops against Vivado HLS 2020.1, and the shape of the laws."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.hardware import (
    ff_per_multiplier,
    lut_of_constants,
    lut_per_multiplier,
    product_ff,
    product_lut,
)
from fabricfit.hardware.product import Product, Work

from .synthesis_runs import read_runs

LAWS = {"lut": product_lut, "ff": product_ff}
LATENCY = Product(32, 32, 8)
UNROLLED = Product(16, 64, 8, strategy="resource_unrolled", reuse_factor=4)


@dataclass(frozen=True)
class Run:
    product: Product
    work: Work
    lut: float
    ff: float

    def ratio(self, resource):
        return getattr(self, resource) / LAWS[resource](self.product, self.work).value

    def is_enclosed(self, resource):
        estimate = LAWS[resource](self.product, self.work)
        return estimate.low <= getattr(self, resource) <= estimate.high


def drawn_kernel(product):
    """Weights as Keras draws them and the runs round them: uniform, variance 1 / n_in."""
    limit = (3 / product.n_in) ** 0.5
    weights = np.random.default_rng(0).uniform(-limit, limit, (product.n_in, product.n_out))
    return np.round(weights * 2 ** (product.weight_width - 1)).astype(int)


@pytest.fixture(scope="module")
def runs():
    found = []
    for row, product, kernel in read_runs():
        if product.time_multiplexed:
            work = Work.full(product)
        else:
            work = Work.of(product, drawn_kernel(product) if kernel is None else kernel)
        found.append(Run(product, work, float(row["LUT_hls"]), float(row["FF_hls"])))
    return found


@pytest.fixture(scope="module")
def multiplexed_check(runs):
    return [run for run in runs if run.product.time_multiplexed and run.product.n_in in (96, 224)]


@pytest.fixture(scope="module")
def constants_check(runs):
    """Name of what is built -> runs with 64 outputs, which no constant comes from."""
    chosen = [run for run in runs if run.product.by_constants and run.product.n_out == 64]
    reused = [run for run in chosen if run.product.reuse_factor > 1]
    at_one = [run for run in chosen if run.product.reuse_factor == 1]
    return {
        "latency": [run for run in at_one if run.product.strategy == "latency"],
        "resource": [run for run in at_one if run.product.strategy == "resource"],
        "shared": reused,
    }


def median_error(runs, resource):
    return np.median([abs(1 / run.ratio(resource) - 1) for run in runs])


# Against the reports


def test_time_multiplexed_layers_of_other_sizes_are_met(multiplexed_check):
    assert len(multiplexed_check) == 211
    for resource, median, worst in (("lut", 0.001, 0.01), ("ff", 0.001, 0.04)):
        assert median_error(multiplexed_check, resource) < median
        assert max(abs(run.ratio(resource) - 1) for run in multiplexed_check) < worst
        assert all(run.is_enclosed(resource) for run in multiplexed_check)


@pytest.mark.parametrize(
    ("name", "count", "lut", "ff"),
    [("latency", 7, 0.015, 0.08), ("resource", 7, 0.015, 0.04), ("shared", 14, 0.035, 0.06)],
)
def test_layers_of_constants_with_other_outputs_are_met(constants_check, name, count, lut, ff):
    chosen = constants_check[name]
    assert len(chosen) == count
    assert median_error(chosen, "lut") < lut
    assert median_error(chosen, "ff") < ff
    for resource in LAWS:
        assert np.mean([run.is_enclosed(resource) for run in chosen]) >= 0.9


def test_constants_of_96_inputs_are_met_though_weights_are_only_alike(runs):
    """The kernels of these runs are not known, but what they were drawn from is; not at 2 bits."""
    chosen = [r for r in runs if r.product.by_constants and r.product.n_in == 96]
    chosen = [run for run in chosen if run.product.weight_width > 2]
    assert len(chosen) == 6
    assert median_error(chosen, "lut") < 0.04
    for resource in LAWS:
        assert all(run.is_enclosed(resource) for run in chosen)


def test_every_interval_is_worth_having(runs):
    """Nine of ten reports lie within, and at the ends there is no more than a factor of 3."""
    for resource, law in LAWS.items():
        assert np.mean([run.is_enclosed(resource) for run in runs if run.work.nonzeros]) > 0.95
        estimates = [law(run.product, run.work) for run in runs if run.work.nonzeros > 2000]
        assert all(each.high < 3 * each.low for each in estimates)


def test_runs_are_inside_the_measurements(runs):
    assert {law(run.product, run.work).note for run in runs for law in LAWS.values()} == {""}


def test_a_law_without_the_multiplexers_would_be_far_off(multiplexed_check):
    """HLS pads what picks a sum to a power of two of all outputs: the jump from 32 to 40."""
    small, large = (
        next(
            run
            for run in multiplexed_check
            if (run.product.n_in, run.product.n_out, run.product.weight_width) == (96, n_out, 8)
            and run.product.reuse_factor == 384
        )
        for n_out in (128, 224)
    )
    assert large.lut / small.lut > 2.7 > 224 / 128
    assert product_lut(large.product, large.work).value / product_lut(
        small.product, small.work
    ).value == pytest.approx(large.lut / small.lut, rel=0.001)


# What was not measured


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"input_width": 8}, "bits"),
        ({"accumulator_width": 24}, "bits"),
        ({"weight_width": 18}, "weights"),
        ({"n_in": 16}, "inputs or outputs"),
        ({"n_out": 512}, "inputs or outputs"),
        ({"n_out": 200}, "weights as constants"),
        ({"reuse_factor": 4}, "reuse factor"),
        ({"strategy": "resource", "reuse_factor": 16}, "less than two outputs"),
        ({"strategy": "resource_unrolled", "reuse_factor": 64}, "ResourceUnrolled"),
        ({"strategy": "distributed_arithmetic"}, "distributed arithmetic"),
        ({"io_type": "io_stream"}, "io_stream"),
        ({"convolution": True}, "convolution"),
    ],
)
def test_outside_the_measurements_a_note_says_why_and_the_interval_is_wider(change, word):
    inside, outside = LATENCY, replace(LATENCY, **change)
    for law in LAWS.values():
        near, far = law(inside, Work.full(inside)), law(outside, Work.full(outside))
        assert not near.note
        assert word in far.note
        assert far.high / far.low > 2 * near.high / near.low


def test_inputs_in_registers_are_picked_with_far_less_and_are_not_measured():
    product = Product(64, 64, 8, strategy="resource", reuse_factor=128)
    packed = product_lut(product, Work.full(product))
    registers = product_lut(replace(product, packed_input=False), Work.full(product))
    assert not packed.note
    assert "separate registers" in registers.note
    # A 64:1 multiplexer of 16 bits in place of two shifters of 1024 bits.
    assert packed.value - registers.value > 2 * 2000
    streamed = replace(product, io_type="io_stream")
    assert product_lut(streamed, Work.full(streamed)).value == registers.value


def test_copies_take_so_many_times_as_much():
    for strategy, reuse in (("latency", 1), ("resource", 16), ("distributed_arithmetic", 1)):
        one = Product(16, 8, 8, strategy=strategy, reuse_factor=reuse, convolution=True)
        three = replace(one, copies=3, positions=9)
        for law in LAWS.values():
            many = law(three, Work.full(three))
            assert many.value == pytest.approx(3 * law(one, Work.full(one)).value)
        assert lut_of_constants(three).per_nonzero == 3 * lut_of_constants(one).per_nonzero


# Marginal costs


def test_a_multiplier_without_work_takes_what_its_slope_says():
    for reuse in (4, 16, 32, 64):
        product = replace(UNROLLED, reuse_factor=reuse)
        full = Work.full(product)
        fewer = replace(full, multipliers=full.multipliers - 1)
        for law, slope in ((product_lut, lut_per_multiplier), (product_ff, ff_per_multiplier)):
            assert slope(product) > 0
            saved = law(product, full).value - law(product, fewer).value
            assert saved == pytest.approx(slope(product))


def test_plain_resource_drops_nothing():
    product = replace(UNROLLED, strategy="resource")
    full, none = Work.full(product), Work(0, 0, 0, 0, 0)
    assert lut_per_multiplier(product) == ff_per_multiplier(product) == 0
    assert lut_per_multiplier(LATENCY) == ff_per_multiplier(LATENCY) == 0
    for law in LAWS.values():
        assert law(product, full).value == law(product, none).value > 0


def test_zero_runs_leave_an_unrolled_layer_without_their_multipliers():
    kernel = np.ones((16, 64), int)
    kernel[:8, :32] = 0  # two runs of four in each of 32 outputs
    saved = 64 * lut_per_multiplier(UNROLLED)
    dense, pruned = (
        product_lut(UNROLLED, Work.of(UNROLLED, k)) for k in (np.ones((16, 64), int), kernel)
    )
    assert dense.value - pruned.value == pytest.approx(saved)


def test_parts_of_constants_add_up():
    costs = lut_of_constants(LATENCY)
    work = Work(multipliers=900, nonzeros=900, constants=300, adders=200, digits=2000)
    assert product_lut(LATENCY, work).value == pytest.approx(
        (900 - 32) * costs.per_nonzero + 200 * costs.per_adder + 300 * costs.per_multiplier
    )


def test_a_two_digit_constant_in_place_of_a_dsp_product_costs_an_adder():
    kernel = np.zeros((32, 32), int)
    kernel[:, 0], kernel[0, 1] = 1, 43
    easier = kernel.copy()
    easier[0, 1] = 40
    costs = lut_of_constants(LATENCY)
    full, less = (product_lut(LATENCY, Work.of(LATENCY, k)).value for k in (kernel, easier))
    assert less - full == pytest.approx(costs.per_adder - costs.per_multiplier)


def test_without_a_dsp_each_further_digit_costs_an_adder():
    """Constants of five bits have three digits if they have more than two: 11 is 16 - 4 - 1."""
    narrow = Product(32, 32, 5)
    costs = lut_of_constants(narrow)
    work = Work(multipliers=0, nonzeros=0, constants=10, adders=0, digits=30)
    expected = 10 * (costs.per_adder + costs.per_digit)
    assert product_lut(narrow, work).value == pytest.approx(expected)


def test_distributed_arithmetic_counts_digits():
    product = Product(16, 16, 8, accumulator_width=20, strategy="distributed_arithmetic")
    work = Work(multipliers=256, nonzeros=256, constants=0, adders=0, digits=600)
    assert product_lut(product, work).value == 600 * 20
    assert lut_of_constants(product).per_digit == 20


# Laws for all products

products = st.builds(
    Product,
    n_in=st.integers(1, 64),
    n_out=st.integers(1, 64),
    weight_width=st.integers(1, 18),
    input_width=st.integers(1, 24),
    accumulator_width=st.integers(1, 40),
    strategy=st.sampled_from(
        ["latency", "resource", "resource_unrolled", "distributed_arithmetic"]
    ),
    reuse_factor=st.integers(1, 2000),
    copies=st.integers(1, 3),
)
works = st.builds(
    Work,
    multipliers=st.integers(0, 4096),
    nonzeros=st.integers(0, 4096),
    constants=st.integers(0, 2048),
    adders=st.integers(0, 2048),
    digits=st.integers(0, 9000),
)


@given(products, works, works)
def test_less_work_never_takes_more(product, one, other):
    less = Work(**{name: min(count, vars(other)[name]) for name, count in vars(one).items()})
    for law in LAWS.values():
        assert law(product, less).value <= law(product, one).value * (1 + 1e-12)


@given(products, works)
def test_estimates_are_finite_and_in_order(product, work):
    for law in LAWS.values():
        estimate = law(product, work)
        assert 0 <= estimate.low <= estimate.value <= estimate.high < 1e9


@given(products, works, st.sampled_from(["input_width", "accumulator_width"]))
def test_wider_numbers_take_no_less(product, work, width):
    """Flip-flops do not shrink; LUTs do where a product becomes wide enough for a DSP."""
    wider = replace(product, **{width: getattr(product, width) + 1})
    if width == "accumulator_width":
        assert product_ff(wider, work).value >= product_ff(product, work).value * (1 - 1e-12)
        assert product_lut(wider, work).value >= product_lut(product, work).value * (1 - 1e-12)
    elif product.input_width not in (5, 15 - product.weight_width) and product.weight_width > 5:
        assert product_lut(wider, work).value >= product_lut(product, work).value * (1 - 1e-12)
