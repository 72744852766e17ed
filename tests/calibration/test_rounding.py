"""Numbers rounded to formats in floats, in each mode of AMD's types, by their definitions in UG1399."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from fabricfit.calibration.rounding import in_format
from fabricfit.description.precision import ROUNDINGS, SATURATIONS
from fabricfit.errors import InvalidInputError
from fabricfit.precision.formats import TensorFormat
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND

NUMBERS = [Fraction(n, 16) for n in range(-90, 91)]
"""Numbers on both sides of the formats below, with all ties between two of theirs."""


def round_by_hand(scaled, mode):
    """Return a whole number for a fraction: the nearest one, ties as the mode says, or truncated."""
    low, high = math.floor(scaled), math.ceil(scaled)
    if mode == "TRN":
        return low
    if mode == "TRN_ZERO":
        return math.trunc(scaled)
    if scaled - low != Fraction(1, 2):
        return low if scaled - low < Fraction(1, 2) else high
    positive = scaled > 0
    return {
        "RND": high,
        "RND_MIN_INF": low,
        "RND_ZERO": low if positive else high,
        "RND_INF": high if positive else low,
        "RND_CONV": low if low % 2 == 0 else high,
    }[mode]


def limit_by_hand(whole, width, signed, mode):
    """Return what a whole number becomes in so many bits."""
    high = 2 ** (width - signed) - 1
    low = -high - 1 if signed else 0
    if mode == "SAT_SYM" and signed:
        low = -high
    if low <= whole <= high:
        return whole
    if mode == "SAT_ZERO":
        return 0
    if mode == "WRAP":
        bits = whole % 2**width
        return bits - 2**width if signed and bits >= 2 ** (width - 1) else bits
    return high if whole > high else low


@pytest.mark.parametrize(("rounding", "overflow"), itertools.product(ROUNDINGS, SATURATIONS))
def test_every_mode_is_that_of_the_types(rounding, overflow):
    for signed, (fractional, integer) in itertools.product(
        (True, False), ((2, 3), (1, 2), (-1, 3))
    ):
        form = TensorFormat(fractional, integer, signed, rounding, overflow)
        kept = in_format(np.array(NUMBERS, float), form)
        unit = Fraction(2) ** -fractional
        expected = [
            float(
                limit_by_hand(round_by_hand(n / unit, rounding), form.width, signed, overflow)
                * unit
            )
            for n in NUMBERS
        ]
        np.testing.assert_array_equal(kept, expected, err_msg=str(form))


def test_more_bits_than_are_emulated_are_refused():
    with pytest.raises(InvalidInputError, match=r"numbers of 1 to 62 bits.*Received: 70 bits"):
        in_format(np.zeros(2), TensorFormat(60, 10, True))
