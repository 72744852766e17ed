"""Times and clocks as people write them."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.quantities import parse_clock, parse_time, spell_time
from fabricfit.errors import InvalidInputError

TIMES = st.floats(1e-6, 1e12)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1us", 1000), ("1 µs", 1000), ("1 μs", 1000), ("25ns", 25), (" 25 ns ", 25), ("0.5 ms", 5e5),
        ("1e-3s", 1e6), ("500ps", 0.5), (".5us", 500), ("40", 40), (40, 40), (np.float32(2.5), 2.5),
    ],
)  # fmt: skip
def test_a_time_is_read(text, nanoseconds):
    assert parse_time(text) == pytest.approx(nanoseconds)


@pytest.mark.parametrize(
    ("text", "period"),
    [("200MHz", 5), ("0.2 GHz", 5), ("200 mhz", 5), ("200000kHz", 5), ("5ns", 5), (5, 5), ("5", 5)],
)
def test_a_clock_is_read_as_a_frequency_or_a_period(text, period):
    assert parse_clock(text) == pytest.approx(period)


@pytest.mark.parametrize("read", [parse_time, parse_clock])
@pytest.mark.parametrize(
    "value",
    ["", "us", "soon", "1 parsec", "1us 2", "1,5us", "-1ns", 0, "0ns", True, None, [], math.nan, "1e999"],
)  # fmt: skip
def test_anything_else_is_refused_by_name(read, value):
    with pytest.raises(InvalidInputError, match=r"deadline must be a .* Received: deadline="):
        read(value, "deadline")


@pytest.mark.parametrize("value", ["0MHz", "-2GHz", "200MHx", 10**400])
def test_no_clock_is_refused(value):
    with pytest.raises(InvalidInputError, match="such as '200MHz', '5ns'"):
        parse_clock(value)


@given(TIMES)
def test_what_is_spelled_is_read_as_the_same(nanoseconds):
    assert parse_time(spell_time(nanoseconds)) == pytest.approx(nanoseconds, rel=1e-12)


@given(TIMES)
def test_a_frequency_is_the_inverse_of_its_period(period):
    assert parse_clock(f"{1000 / period!r} MHz") == pytest.approx(period)
    assert parse_clock(f"{period!r} ns") == period


@given(st.text(max_size=8))
def test_any_text_is_read_or_refused(text):
    for read in (parse_time, parse_clock):
        with contextlib.suppress(InvalidInputError):
            assert 0 < read(text) < math.inf
