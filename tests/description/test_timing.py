"""Cycles and nanoseconds beside a deadline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.description.timing import Timing
from fabricfit.description.verdicts import Verdict


def test_the_line_says_cycles_nanoseconds_and_the_verdict():
    late = Timing("latency", 1033, 1100, 5.0, 1000.0)
    assert str(late) == "latency: 1,033 cycles, 5,165 ns of 1,000 ns: does not fit"
    near = Timing("interval", 10, 30, 3.3, 50.0, before=12)
    assert (
        str(near) == "interval: 12 cycles before, 10 after, 33 ns (up to 99 ns) of 50 ns: may fit"
    )
    assert str(Timing("interval", 1, 1, 2.5)) == "interval: 1 cycle, 2.5 ns"
    assert late.verdict is Verdict.DOES_NOT_FIT and near.verdict is Verdict.MAY_FIT


def test_the_margin_says_how_much_of_the_error_bar_counts():
    near = Timing("interval", 10, 30, 5.0, 100.0)
    assert near.is_within(0) and near.is_within(0.5) and not near.is_within(0.6)
    assert Timing("interval", 10, 30, 5.0).is_within(1)


@given(st.integers(1, 10**5), st.floats(0.5, 50))
def test_whole_cycles_of_a_deadlines_length_keep_it(cycles, clock):
    assert (
        Timing("latency", cycles, cycles, clock, sum([clock / 3] * 3) * cycles).verdict
        is Verdict.FITS
    )
    longer = Timing("latency", cycles + 1, cycles + 1, clock, clock * cycles)
    assert longer.verdict is Verdict.DOES_NOT_FIT


@pytest.mark.parametrize("deadline", [None, 40.0])
def test_it_is_plain_data_with_nanoseconds(deadline):
    found = Timing("latency", 10, 12, 5.0, deadline, before=20).to_dict()
    assert (found["ns"], found["highest_ns"], found["before_ns"]) == (50, 60, 100)
    assert found.get("verdict") == (None if deadline is None else "does not fit")
