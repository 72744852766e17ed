"""Every law against the reports of 523 runs of Vivado HLS 2020.1."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fabricfit.hardware import dsps_per_multiplier, latency_dsp, multipliers, weight_bram18
from fabricfit.hls4ml import valid_reuse_factors

DATA = Path(__file__).parents[1] / "data" / "synthesis"
INPUT_WIDTH = 16


@dataclass(frozen=True)
class Run:
    name: str
    n_in: int
    n_out: int
    bits: int
    reuse_factor: int
    strategy: str
    dsp: int
    bram18: int
    interval: int


@pytest.fixture(scope="module")
def runs():
    with (DATA / "vivado_2020_1_dense.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ("DSP_hls", "BRAM_18K_hls", "IntervalMax_hls")
    sizes = ("d_in", "d_out", "prec", "rf")
    return [
        Run(
            row["model_name"],
            *(int(row[name]) for name in sizes),
            row["strategy"],
            *(int(float(row[name])) for name in columns),
        )
        for row in rows
    ]


@pytest.fixture(scope="module")
def time_multiplexed(runs):
    return [run for run in runs if run.strategy == "resource" and run.reuse_factor > 1]


def test_all_rows_are_there(runs, time_multiplexed):
    assert len(runs) == 523
    assert len(time_multiplexed) == 435


def predicted_dsp(run):
    per_multiplier = dsps_per_multiplier(run.bits, INPUT_WIDTH)
    return multipliers(run.n_in, run.n_out, run.reuse_factor) * per_multiplier


def test_dsp_of_resource_is_exact_for_all_but_the_boundary(time_multiplexed):
    checked = [run for run in time_multiplexed if run.bits != 6]
    assert {run.bits for run in checked} == {2, 4, 8, 10, 12, 14}
    assert [run for run in checked if predicted_dsp(run) != run.dsp] == []


def test_dsp_of_six_bit_weights_is_at_most_one_too_many(time_multiplexed):
    over = [predicted_dsp(run) - run.dsp for run in time_multiplexed if run.bits == 6]
    assert len(over) == 62
    assert set(over) <= {0, 1}


def test_one_multiplier_serves_a_weight_each_cycle(time_multiplexed):
    for run in time_multiplexed:
        assert run.reuse_factor in valid_reuse_factors(run.n_in, run.n_out)
        n_multipliers = multipliers(run.n_in, run.n_out, run.reuse_factor)
        assert n_multipliers * run.interval == run.n_in * run.n_out


def test_bram_is_exact_or_one_too_few_up_to_1024_words(time_multiplexed):
    checked = [run for run in time_multiplexed if run.reuse_factor <= 1024]
    more = [run.bram18 - predicted_bram(run) for run in checked]
    assert len(more) == 382
    assert set(more) == {0, 1}


def test_bram_is_near_above(time_multiplexed):
    deep = [run for run in time_multiplexed if run.reuse_factor > 1024]
    more = [run.bram18 - predicted_bram(run) for run in deep]
    assert len(more) == 53
    assert set(more) <= {0, 1, 2}  # the table of outputs is one


def test_without_reuse_weights_are_in_no_bram(runs):
    unshared = [run for run in runs if run.reuse_factor == 1]
    assert len(unshared) == 48
    assert all(run.bram18 == 0 == predicted_bram(run) for run in unshared)


def predicted_bram(run):
    patterns = multipliers(run.n_in, run.n_out, run.reuse_factor)
    return weight_bram18(patterns, run.bits, run.reuse_factor)


def test_dsp_of_latency_counts_distinct_constants(runs):
    found = 0
    with np.load(DATA / "vivado_2020_1_dense_kernels.npz") as kernels:
        for run in runs:
            if run.strategy != "latency" or run.reuse_factor > 1 or run.bits < 8:
                continue
            assert kernels[run.name].shape == (run.n_in, run.n_out)
            assert latency_dsp(kernels[run.name]) == run.dsp
            found += 1
    assert found == 11


def test_latency_takes_fewer_dsps_than_weights(runs):
    """The law is worth having: counting non-zero weights is far off at few bits."""
    with np.load(DATA / "vivado_2020_1_dense_kernels.npz") as kernels:
        ten_bits = [r for r in runs if r.strategy == "latency" and r.bits == 10]
        for run in (run for run in ten_bits if run.reuse_factor == 1):
            nonzero = np.count_nonzero(kernels[run.name])
            assert abs(latency_dsp(kernels[run.name]) - run.dsp) < 0.1 * (nonzero - run.dsp)


def test_resource_without_reuse_is_built_like_latency(runs):
    by_key = {(run.name, run.strategy): run.dsp for run in runs if run.reuse_factor == 1}
    latency = [name for name, strategy in by_key if strategy == "latency"]
    assert all(by_key[name, "resource"] == by_key[name, "latency"] for name in latency)
