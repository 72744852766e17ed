"""Samples held back for validation: each sample in one of two parts."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from hypothesis import given
from hypothesis import strategies as st

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.samples.held_back import hold_back
from tests.marks import ON_ONE_BACKEND

pytestmark = ON_ONE_BACKEND


@given(count=st.integers(2, 60), part=st.floats(0.05, 0.95), seed=st.integers(0, 9))
def test_every_sample_is_in_one_of_the_two(count, part, seed):
    X = {"a": np.arange(count), "b": [np.arange(count) * 10.0]}
    data = (X, np.arange(count) * 100)
    held = round(part * count)
    if not 0 < held < count:
        with pytest.raises(InvalidInputError, match="leaves"):
            hold_back(data, part, seed)
        return
    train, validation = hold_back(data, part, seed)
    assert len(validation[1]) == held
    both = np.concatenate([train[1], validation[1]])
    assert sorted(both) == list(data[1])
    for x, y in (train, validation):
        np.testing.assert_array_equal(x["a"] * 100, y)
        np.testing.assert_array_equal(x["b"][0] * 10, y)
    again = hold_back(data, part, seed)[1][1]
    np.testing.assert_array_equal(again, validation[1])


def test_weights_may_be_there_or_not():
    train, validation = hold_back((np.arange(10), np.arange(10), np.arange(10) / 10), 0.3)
    np.testing.assert_allclose(validation[2], validation[0] / 10)
    train, validation = hold_back((np.arange(10), np.arange(10), None), 0.3)
    assert train[2] is validation[2] is None
    np.testing.assert_array_equal(train[0], train[1])


@pytest.mark.parametrize("part", [0, 1, 1.5, -0.1, True])
def test_parts_out_of_range_are_refused(part):
    with pytest.raises(InvalidInputError, match="above 0 and below 1"):
        hold_back((np.arange(9), np.arange(9)), part)


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(InvalidTypeError, match="stream"):
        hold_back(iter([1, 2]), 0.2)
    with pytest.raises(InvalidInputError, match="as many samples"):
        hold_back((np.arange(9), np.arange(8)), 0.2)
    with pytest.raises(InvalidInputError, match="arrays of samples"):
        hold_back((np.arange(9), 3), 0.2)
