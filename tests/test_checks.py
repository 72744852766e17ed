"""Checks of single values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.checks import optional_whole_number, whole_number, whole_numbers
from fabricfit.errors import InvalidInputError

NOT_WHOLE = [None, True, False, 1.5, "3", "", float("nan"), float("inf"), [1], 1j, object()]


@given(st.integers(1, 10**15), st.sampled_from([int, float, np.int64, np.float64]))
def test_a_whole_number_of_any_type_is_an_int(number, kind):
    found = whole_number("epochs", kind(number))
    assert (found, type(found)) == (int(kind(number)), int)


@pytest.mark.parametrize("value", [*NOT_WHOLE, 0, -3, np.array([1, 2])])
def test_anything_else_is_refused(value):
    with pytest.raises(InvalidInputError, match="epochs must be a whole number of at least 1"):
        whole_number("epochs", value)


def test_the_least_is_stated():
    assert whole_number("seed", 0, 0) == 0
    with pytest.raises(
        InvalidInputError, match=r"probes must be .* at least 2. Received: probes=1"
    ):
        whole_number("probes", 1, 2)


def test_the_most_is_stated():
    assert whole_number("width", 256, most=256) == 256
    with pytest.raises(InvalidInputError, match="width must be a whole number from 1 to 256"):
        whole_number("width", 257, most=256)


def test_texts_are_numbers_only_where_people_write_them():
    assert whole_number("ReuseFactor", " 4 ", texts=True) == 4
    for text in ("4.5", "four", ""):
        with pytest.raises(InvalidInputError):
            whole_number("ReuseFactor", text, texts=True)


def test_none_is_an_option():
    assert optional_whole_number("patience", None) is None
    assert optional_whole_number("patience", 2.0) == 2
    with pytest.raises(InvalidInputError):
        optional_whole_number("patience", 0)


def test_several():
    assert whole_numbers("shape", [np.int64(3), 2.0]) == (3, 2)
    for values in ([], [1, 0], [1.5], ["3"], 3, None, "33", [None]):
        with pytest.raises(InvalidInputError, match="shape must hold whole numbers"):
            whole_numbers("shape", values)
