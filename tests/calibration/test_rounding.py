"""Numbers rounded to formats in floats, in each mode of AMD's types, by their definitions in UG1399."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from fabricfit.calibration.rounding import in_format
from fabricfit.description.precision import ROUNDINGS, SATURATIONS
from fabricfit.errors import InvalidInputError
from fabricfit.precision.formats import TensorFormat
from tests.description.types_by_hand import NUMBERS, convert_by_hand
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@pytest.mark.parametrize(("rounding", "overflow"), itertools.product(ROUNDINGS, SATURATIONS))
def test_every_mode_is_that_of_the_types(rounding, overflow):
    for signed, (fractional, integer) in itertools.product(
        (True, False), ((2, 3), (1, 2), (-1, 3))
    ):
        form = TensorFormat(fractional, integer, signed, rounding, overflow)
        kept = in_format(np.array(NUMBERS, float), form)
        modes = form.width, fractional, signed, rounding, overflow
        expected = [float(convert_by_hand(n, *modes) * Fraction(2) ** -fractional) for n in NUMBERS]
        np.testing.assert_array_equal(kept, expected, err_msg=str(form))


def test_more_bits_than_are_emulated_are_refused():
    with pytest.raises(InvalidInputError, match=r"numbers of 1 to 62 bits.*Received: 70 bits"):
        in_format(np.zeros(2), TensorFormat(60, 10, True))
