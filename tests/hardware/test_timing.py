"""Intervals and latencies against Vivado HLS 2020.1, and what follows from hls4ml's loops."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.hardware.families import families
from fabricfit.hardware.product import Product, Work
from fabricfit.hardware.resources import product_resources
from fabricfit.hardware.targets import Target
from fabricfit.hardware.timing import product_interval, product_latency
from fabricfit.hardware.tools import tools

from .synthesis_runs import read_runs


@pytest.fixture(scope="module")
def runs():
    """Product, work, interval, best and worst latency of each run whose weights are known."""
    found = []
    for row, product, kernel in read_runs():
        work = Work.full(product) if kernel is None else Work.of(product, kernel)
        names = ("IntervalMax_hls", "BestLatency_hls", "WorstLatency_hls")
        found.append((product, work, *(int(float(row[name])) for name in names)))
    return found


def test_time_multiplexed_layers_take_a_sample_every_rf_cycles(runs):
    chosen = [run for run in runs if run[0].time_multiplexed]
    assert len(chosen) == 435
    for product, work, interval, best, worst in chosen:
        assert str(product_interval(product, work)) == f"{interval:,}"
        latency = product_latency(product, work)
        assert latency.low <= best <= latency.value <= worst <= latency.high


def test_shared_multipliers_set_the_interval_of_latency_layers(runs):
    chosen = [run for run in runs if run[0].by_constants and run[0].reuse_factor > 1]
    wide = [run for run in chosen if run[0].weight_width >= 8]
    assert (len(chosen), len(wide)) == (40, 22)
    for product, work, interval, best, worst in wide:
        assert product_interval(product, work).value == interval
        assert product_latency(product, work).value == best == worst
    for product, work, interval, best, _ in chosen:
        assert product_interval(product, work).low <= interval
        assert interval <= product_interval(product, work).high
        assert product_latency(product, work).low <= best <= product_latency(product, work).high


def test_unshared_constants_take_a_cycle_or_two(runs):
    chosen = [run for run in runs if run[0].by_constants and run[0].reuse_factor == 1]
    assert len(chosen) == 48
    exact = 0
    for product, work, interval, best, worst in chosen:
        estimate, latency = product_interval(product, work), product_latency(product, work)
        assert estimate.low <= interval <= estimate.high
        assert latency.low <= best == worst <= latency.high
        exact += (estimate.value, latency.value) == (interval, best)
    assert exact >= 40
    assert all(run[2] == 1 for run in chosen if run[0].strategy == "latency")


def test_runs_are_inside_the_measurements(runs):
    for product, work, *_ in runs:
        assert not product_interval(product, work).note
        assert not product_latency(product, work).note


@pytest.mark.parametrize(
    ("strategy", "reuse", "copies", "interval"),
    [
        ("latency", 1, 1, 100),
        ("latency", 1, 4, 25),
        ("resource", 9, 4, 225),
        ("resource", 9, 7, 135),
    ],
)
def test_positions_are_done_in_turn(strategy, reuse, copies, interval):
    product = Product(
        27, 8, 8, strategy=strategy, reuse_factor=reuse, copies=copies, positions=100,
        convolution=True,
    )  # fmt: skip
    estimate = product_interval(product, Work.full(product))
    assert (estimate.value, estimate.low) == (interval, interval)
    assert estimate.high == 2 * interval
    assert "a convolution" in estimate.note
    latency = product_latency(product, Work.full(product))
    assert latency.value >= interval - (reuse - 1)
    assert "a convolution" in latency.note


def test_sparser_constants_need_shared_multipliers_for_fewer_cycles():
    product = Product(32, 32, 10, reuse_factor=512)
    dense = Work(1024, 1024, 683, 244, 2940)
    sparse = Work(1024, 1024, 300, 244, 2940)
    assert product_interval(product, dense).value == 342 + 2
    assert product_interval(product, sparse).value == 150 + 2


@given(
    st.sampled_from(["latency", "resource", "resource_unrolled", "distributed_arithmetic"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 5000),
    st.integers(1, 40),
    st.integers(1, 8),
    st.sampled_from(["io_parallel", "io_stream"]),
)
def test_no_layer_is_slower_than_its_reuse_factor(
    strategy, n_in, n_out, reuse, positions, copies, io_type
):
    product = Product(
        n_in, n_out, 8, strategy=strategy, reuse_factor=reuse, positions=positions,
        copies=copies, io_type=io_type,
    )  # fmt: skip
    work = Work.full(product)
    interval, latency = product_interval(product, work), product_latency(product, work)
    steps = -(-positions // copies)
    assert steps <= interval.value <= max(reuse, 2) * steps
    assert 0 <= latency.low <= latency.value <= latency.high
    one = product_interval(replace(product, positions=1, copies=1), work)
    assert interval.value == steps * one.value


@given(
    st.sampled_from(["latency", "resource", "resource_unrolled", "distributed_arithmetic"]),
    st.tuples(st.integers(1, 2000), st.integers(1, 300)),
    st.sampled_from([1, 2, 7, 64, 4096]),
    st.sampled_from([0, 1, 49]),
    st.builds(
        Target,
        st.sampled_from(families()),
        st.sampled_from([2.5, 5.0, 10.0]),
        st.sampled_from(tools()),
    ),
    st.sampled_from([0.0, 0.01, 1.0]),
)
def test_estimates_are_between_their_ends_for_any_weights(
    strategy, shape, reuse, pixels, target, density
):
    product = Product(
        *shape, 8, strategy=strategy, reuse_factor=reuse, pixels=pixels, positions=max(pixels, 1)
    )
    kernel = np.zeros(shape, int)
    kernel.flat[: int(density * kernel.size)] = 77
    work = Work.of(product, kernel)
    for law in (product_interval, product_latency):  # an estimate checks its ends
        assert law(product, work, target).value >= 0
    assert product_resources(product, work, target)["lut"].value >= 0
