from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabricfit.description.attributes import hls4mlAttributes
from fabricfit.description.precision import (
    FixedPrecision,
    fixed_point,
    parse_precision,
    quantize,
    write_precision,
)
from fabricfit.description.rounding import ROUNDINGS, SATURATIONS
from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import FabricFitError, InvalidInputError
from tests.description.types_by_hand import NUMBERS, convert_by_hand


@pytest.mark.parametrize(
    "text, expected",
    [
        ("fixed<16,6>", FixedPrecision(16, 6)),
        ("ap_fixed<16, 6>", FixedPrecision(16, 6)),
        ("ap_ufixed<8,0,AP_RND,AP_SAT>", FixedPrecision(8, 0, False)),
        ("ap_int<4>", FixedPrecision(4, 4)),
        ("uint<4>", FixedPrecision(4, 4, False)),
        ("ac_fixed<16,6,true>", FixedPrecision(16, 6)),
        ("ac_fixed<16,6,false>", FixedPrecision(16, 6, False)),
        (" fixed<12,-2> ", FixedPrecision(12, -2)),
    ],
)
def test_precisions_are_read_as_hls4ml_writes_them(text, expected):
    assert parse_precision(text) == expected
    assert parse_precision(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["auto", "", "fixed<16>", "fixed<>", "float", "fixed<0,0>", 16, None]
)
def test_what_is_no_precision_is_refused(text):
    with pytest.raises(InvalidInputError):
        parse_precision(text)


def test_types_of_other_libraries_serve():
    types = pytest.importorskip("hls4ml.model.types")
    precision = types.FixedPrecisionType(width=12, integer=4)
    assert parse_precision(precision) is precision


GOOD = {
    "n_in": 4,
    "n_out": 2,
    "io_type": "io_parallel",
    "strategy": "Resource",
    "weight_precision": "fixed<16,6>",
    "output_precision": "fixed<16,6>",
    "reuse_factor": 2,
}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n_in": 0}, "n_in"),
        ({"reuse_factor": 1.5}, "reuse_factor"),
        ({"io_type": "parallel"}, "io_parallel"),
        ({"strategy": "Unrolled"}, "Did you mean 'ResourceUnrolled'"),
        ({"strategy": "fast"}, "builds any other as Latency"),
        ({"weight_precision": "auto"}, "'auto'"),
    ],
)
def test_hls4ml_attributes_are_checked(change, message):
    assert hls4mlAttributes(**GOOD).weight_precision.width == 16
    with pytest.raises(FabricFitError, match=message):
        hls4mlAttributes(**{**GOOD, **change})


def test_strategies_have_one_spelling_inside():
    assert canonical_strategy("ResourceUnrolled") == canonical_strategy("resource_unrolled")
    assert canonical_strategy("LATENCY") == "latency"


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("fixed<8,4>", [1, -2, 2]),
        ("ap_fixed<8,4,AP_TRN_ZERO>", [1, -1, 2]),
        ("fixed<8,4,RND,SAT>", [2, -2, 2]),
        ("ac_fixed<8,4,true,AC_RND,AC_SAT>", [2, -2, 2]),
    ],
)
def test_hardware_cuts_numbers_off_unless_told_otherwise(text, built):
    values = np.array([1.75, -1.75, 2.0]) / 16
    assert quantize(values, parse_precision(text), as_built=True).tolist() == built
    assert quantize(values, parse_precision(text)).tolist() == [2, -2, 2]
    assert parse_precision(text) == FixedPrecision(8, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed<8,4,RNDD>", "rounding mode .*'RND_CONV'.*Did you mean 'RND'"),
        ("ap_fixed<8,4,AP_TRN,AP_SATT>", "saturation mode.*Did you mean 'SAT'"),
        ("fixed<8,4,7>", "rounding mode of 'fixed<8,4,7>' must be one of 'TRN'"),
        ("fixed<8,4,TRN,WRAP,0,0>", "saturation bits"),
        ("ac_fixed<8,4,true,AC_RUND>", "rounding mode"),
    ],
)
def test_an_unknown_mode_is_refused_and_the_nearest_suggested(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_precision(text)


@pytest.mark.parametrize(
    "text",
    [
        *("fixed<16,6>", "ufixed<8,0,RND_CONV,SAT>", "fixed<9,2,TRN,SAT_SYM,1>"),
        *("ac_int<7,false>", "fixed<8,2,TRN,SAT>"),
    ],
)
def test_formats_are_written_as_they_are_read(text):
    found = parse_precision(text)
    again = parse_precision(write_precision(found))
    assert again == found
    assert (again.rounding, again.overflow) == (found.rounding, found.overflow)


MODES = list(itertools.product(ROUNDINGS, SATURATIONS))


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
def test_numbers_are_built_in_every_mode_of_the_types(rounding, overflow):
    for signed, (width, fractional) in itertools.product((True, False), ((5, 2), (3, 1), (2, -1))):
        form = FixedPrecision(width, width - fractional, signed, rounding, overflow)
        modes = width, fractional, signed, rounding, overflow
        expected = [convert_by_hand(number, *modes) for number in NUMBERS]
        built = quantize(np.array(NUMBERS, float), form, as_built=True)
        np.testing.assert_array_equal(built, expected, err_msg=str(form))


def list_awkward():
    """Floats beside ties and beside whole numbers, where sums of floats are not exact."""
    near = [0.0, 0.5, -0.5, 1.5, -1.0, 2.0**52 + 1, -(2.0**51) - 0.5, 2.0**53]
    near += [math.nextafter(x, to) for x in near for to in (-math.inf, math.inf)]
    return [*near, -5e-324, 1e-300, 1e300, -(2.0**70)]


@given(
    st.one_of(st.sampled_from(list_awkward()), st.floats(-40, 40), st.floats(allow_nan=False)),
    st.integers(1, 60),
    st.integers(-8, 8),
    st.booleans(),
    st.sampled_from(MODES),
)
@example(math.nextafter(0.5, 0), 8, 0, True, ("RND", "WRAP"))
@example(-math.nextafter(0.5, 0), 8, 0, True, ("RND_MIN_INF", "SAT"))
def test_any_number_is_built_exactly(number, width, fractional, signed, modes):
    form = FixedPrecision(width, width - fractional, signed, *modes)
    (built,) = quantize([number], form, as_built=True).tolist()
    exact = Fraction(min(max(number, -(2.0**900)), 2.0**900))
    assert built == convert_by_hand(exact, width, fractional, signed, *modes)


@given(st.floats(-40, 40), st.sampled_from(MODES))
def test_the_nearest_number_is_that_of_no_mode(number, modes):
    (nearest,) = quantize([number], FixedPrecision(7, 4, True, *modes)).tolist()
    assert nearest == convert_by_hand(Fraction(number), 7, 3, True, "RND_CONV", "SAT")


def test_wide_formats_hold_what_64_bits_do():
    wide = parse_precision("fixed<80,40>")
    assert quantize([-1.5, 2.0**30], wide, as_built=True).tolist() == [-3 << 39, 1 << 62]
    assert quantize([-1.5], parse_precision("ufixed<64,32>")).tolist() == [0]


def test_types_of_hls4ml_have_their_modes():
    types = pytest.importorskip("hls4ml.model.types")
    found = fixed_point(types.FixedPrecisionType(8, 4, True, "RND_INF", "SAT_SYM"))
    assert (found.rounding, found.overflow) == ("RND_INF", "SAT_SYM")
    whole = fixed_point(types.IntegerPrecisionType(4, signed=False))
    assert (whole, whole.rounding) == (FixedPrecision(4, 4, False), "TRN_ZERO")
    assert quantize([-0.7, 2.9], parse_precision("int<4>"), as_built=True).tolist() == [0, 2]
