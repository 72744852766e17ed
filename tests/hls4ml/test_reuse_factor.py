"""hls4ml's own choices are the oracle of ours."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError
from fabricfit.hls4ml.reuse_factor import (
    effective_strategy,
    legal_parallelization_factor,
    legal_reuse_factor,
    valid_reuse_factors,
)

SIZES = [1, 2, 3, 5, 7, 8, 12, 16, 30, 32, 64, 75]
sizes = st.integers(1, 120)


@pytest.fixture(scope="module")
def hls4ml_backend():
    hls4ml = pytest.importorskip("hls4ml")
    return hls4ml.backends.get_backend("Vitis")


def test_valid_factors_are_those_of_hls4ml(hls4ml_backend):
    for n_in, n_out in itertools.product(SIZES, SIZES):
        expected = hls4ml_backend.get_valid_reuse_factors(n_in, n_out)
        assert valid_reuse_factors(n_in, n_out) == expected, (n_in, n_out)


@pytest.mark.parametrize("strategy", ["Resource", "resource", "ResourceUnrolled"])
def test_snaps_to_what_hls4ml_takes(hls4ml_backend, strategy):
    for n_in, n_out in itertools.product(SIZES[2:], SIZES[2:]):
        legal = hls4ml_backend.get_valid_reuse_factors(n_in, n_out)
        if strategy == "ResourceUnrolled":
            legal.pop()
        for asked in {*range(2, 40), n_in * n_out - 1, n_in * n_out, 10 * n_in * n_out}:
            expected = hls4ml_backend.get_closest_reuse_factor(legal, asked)
            assert legal_reuse_factor(n_in, n_out, asked, strategy) == expected


def test_a_tie_goes_to_the_smaller():
    assert valid_reuse_factors(4, 1) == [1, 2, 4]
    assert legal_reuse_factor(4, 1, 3) == 2


def test_unrolled_with_reuse_factor_one_is_plain_resource():
    assert legal_reuse_factor(1, 1, 1, "ResourceUnrolled") == 1
    assert legal_reuse_factor(4, 2, 1, "ResourceUnrolled") == 1


@pytest.mark.parametrize("strategy", ["Latency", "distributed_arithmetic"])
def test_other_strategies_keep_what_they_are_given(strategy):
    assert legal_reuse_factor(16, 64, 7, strategy) == 7


@given(sizes, sizes, st.integers(1, 20000))
def test_snapping_is_legal_idempotent_and_nearest(n_in, n_out, asked):
    legal = valid_reuse_factors(n_in, n_out)
    used = legal_reuse_factor(n_in, n_out, asked)
    assert used in legal
    assert legal_reuse_factor(n_in, n_out, used) == used
    assert all(abs(used - asked) <= abs(other - asked) for other in legal)


@given(sizes, sizes)
def test_every_legal_factor_leaves_no_remainder(n_in, n_out):
    assert all(n_in * n_out % factor == 0 for factor in valid_reuse_factors(n_in, n_out))


@pytest.mark.parametrize(
    ("strategy", "reuse_factor", "io_type", "is_convolution", "expected"),
    [
        ("ResourceUnrolled", 4, "io_parallel", False, "resource_unrolled"),
        ("ResourceUnrolled", 1, "io_parallel", False, "resource"),
        ("ResourceUnrolled", 4, "io_parallel", True, "resource"),
        ("ResourceUnrolled", 4, "io_stream", True, "resource_unrolled"),
        ("ResourceUnrolled", 1, "io_stream", True, "resource"),
        ("Latency", 1, "io_parallel", True, "latency"),
        ("DA", 1, "io_parallel", False, "distributed_arithmetic"),
    ],
)
def test_unrolled_falls_back(strategy, reuse_factor, io_type, is_convolution, expected):
    assert effective_strategy(strategy, reuse_factor, io_type, is_convolution) == expected


def test_parallelization_factors_are_those_of_hls4ml(hls4ml_backend):
    for height, width in [(1, 1), (1, 17), (6, 6), (5, 12), (24, 24)]:
        legal = hls4ml_backend.get_valid_conv_partition_splits(height, width)
        for asked in range(1, height * width + 3):
            expected = hls4ml_backend.get_closest_reuse_factor(legal, asked)
            assert legal_parallelization_factor(height * width, asked) == expected


@pytest.mark.parametrize(
    "call",
    [
        lambda: valid_reuse_factors(0, 4),
        lambda: legal_reuse_factor(4, 4, 0),
        lambda: legal_parallelization_factor(4, 0),
    ],
)
def test_numbers_below_one_are_refused(call):
    with pytest.raises(
        InvalidInputError, match=r"must be a whole number of at least 1\. Received: \w+=0"
    ):
        call()


def test_unknown_strategy_is_refused():
    with pytest.raises(InvalidInputError, match="ResourceUnrolled"):
        legal_reuse_factor(4, 4, 2, "Unrolled")
