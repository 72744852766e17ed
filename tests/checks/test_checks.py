"""Checks of single values."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.checks import (
    file_path,
    flag,
    number,
    numbers,
    one_of,
    optional_whole_number,
    text,
    whole_number,
    whole_numbers,
)
from fabricfit.errors import FabricFitError, InvalidInputError, InvalidTypeError, spell

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
    for spelled in ("4.5", "four", "", "٤", "1_0"):
        with pytest.raises(InvalidInputError):
            whole_number("ReuseFactor", spelled, texts=True)


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


JUNK = [None, True, "x", b"x", [], {}, 1j, object(), np.array([1, 2]), np.array(3), 10**400, print]


@pytest.mark.parametrize("value", [*JUNK, float("nan"), float("inf"), -1, "0.5", np.bool_(True)])
def test_a_number_is_nothing_else(value):
    with pytest.raises(InvalidInputError, match=r"rtol must be a (finite )?number above 0"):
        number("rtol", value, above=0)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(1), Fraction(1, 2)])
def test_a_number_of_any_type_is_a_float(value):
    assert type(number("rtol", value)) is float


def test_the_bounds_of_a_number_are_stated():
    for bounds, said in (
        ({"least": 0}, "a number of at least 0"),
        ({"above": 0, "most": 1}, "a number above 0 and at most 1"),
        ({"least": 0, "most": 1}, "a number from 0 to 1"),
        ({"least": 0, "below": 1}, "a number from 0 to below 1"),
        ({"above": 0}, "a number above 0"),
    ):
        with pytest.raises(InvalidInputError, match=f"part must be {said}. Received: part=-1"):
            number("part", -1, **bounds)
    assert number("seconds", float("inf"), least=0, infinite=True) == float("inf")


def test_several_numbers():
    assert numbers("range", np.array([1, 2]), least=0) == [1.0, 2.0]
    for values in (*JUNK[:-2], "12", b"12", [1, "2"], [1, -1], 1j):
        if not isinstance(values, np.ndarray) or not values.ndim:
            with pytest.raises(InvalidInputError, match=r"range(\[1\])? must"):
                numbers("range", values, least=0)


def test_flags_are_true_or_false():
    assert flag("resume", np.bool_(False)) is False
    for value in (None, 0, 1, "no", "True", [], np.array([True])):
        with pytest.raises(InvalidTypeError, match="resume must be True or False"):
            flag("resume", value)


def test_names():
    assert one_of("tuner", None, ("halving", None)) is None
    assert one_of("tuner", np.str_("halving"), ("halving", None)) == "halving"
    for value in (*JUNK[1:], "halvin"):
        with pytest.raises(InvalidInputError, match="tuner must be one of 'halving', None"):
            one_of("tuner", value, ("halving", None))


def test_texts():
    assert text("name", "größe") == "größe"
    for value in (None, 5, b"x", "", "  ", "a\0b", "\ud83d"):
        with pytest.raises(FabricFitError, match="name must"):
            text("name", value)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud83d", "x" * 300, "x/" * 3000, None, 5, b"x"])
def test_names_that_no_file_has(name):
    with pytest.raises(FabricFitError, match="directory must be"):
        file_path("directory", name)


def test_paths_are_names_and_objects_with_paths(tmp_path):
    assert file_path("directory", tmp_path) == tmp_path
    assert file_path("directory", "runs/läufe") == Path("runs/läufe")


class _Unspeakable:
    def __repr__(self):
        raise RuntimeError("no")


UNSPEAKABLE = {
    "huge": 10**5000,
    "negative": -(10**5000),
    "long": "x" * 10**6,
    "many": ["y" * 1000] * 1000,
    "raising": _Unspeakable(),
    "raising inside": [_Unspeakable()],
    "surrogate": "\ud83d",
    "lines": "a\nb",
    "array": np.zeros(10**6),
    "dict": dict.fromkeys(range(10**4), "z" * 100),
    "bytes": b"\0" * 10**6,
}


@pytest.mark.parametrize("kind", UNSPEAKABLE)
def test_values_are_spelled_on_one_line_that_every_terminal_shows(kind):
    found = spell(UNSPEAKABLE[kind])
    assert len(found) < 500
    assert "\n" not in found
    found.encode("utf-8")


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=20)))
def test_short_values_are_spelled_as_ever(value):
    assert " ".join(repr(value).split()) == spell(value) or len(repr(value)) > 60
