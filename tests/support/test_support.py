"""The table of layers in the documentation says what is true."""

from __future__ import annotations

import keras
import pytest

from tests.marks import ON_ONE_BACKEND

from .cases import CASES, VARIANTS, is_installed
from .checks import CHECKS, compute, load_all, refuse
from .table import PATH, read_rows, write_table

pytestmark = ON_ONE_BACKEND

TOLD = read_rows(PATH.read_text(encoding="utf-8"))


def _marked(family: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a package's cases: on other backends the quantized ones wait for all tests."""
    if family == "keras":
        return []
    marks = [getattr(pytest.mark, family)]
    return marks if keras.backend.backend() == "tensorflow" else [*marks, pytest.mark.slow]


QUICK = ("Dense", "Conv2D", "LSTM", "QKeras QDense", "HGQ2 QDense", "HGQ2 QConv2D")
WRONG = ("QKeras QLSTM", "QKeras QGRU", "HGQ2 QGRU", "HGQ2 QMultiHeadAttention")
"""Layers that hls4ml converts without a word, and builds as something else."""

LONG = ("HGQ2 QConv3D",)
"""Layers that hls4ml converts for minutes."""


def _need(family: str) -> None:
    if not is_installed(family):
        pytest.skip(f"{family} is not installed")


def _need_converter(family: str) -> None:
    _need(family)
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")


def _each(cases, waits=lambda case: False):
    """Run a test for each case; some wait for all tests."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case,
                id=case.name,
                marks=[*_marked(case.family), *([pytest.mark.slow] if waits(case) else [])],
            )
            for case in cases
        ],
    )


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(name, marks=[] if name in ("prune", "reduce") else ON_ONE_BACKEND)
        for name in CHECKS
        if name not in ("save", "convert")
    ],
)
@_each(CASES, waits=lambda case: case.name not in QUICK)
def test_what_the_table_says_is_true(case, check, tmp_path):
    _need(case.family)
    assert CHECKS[check](case, tmp_path) == TOLD[case.name][check]


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=[*_marked(family), *ON_ONE_BACKEND])
        for family in sorted({case.family for case in CASES})
    ],
)
def test_results_load_without_fabricfit(family, tmp_path):
    _need(family)
    folders = []
    for case in CASES:
        if case.family == family:
            folders.append(tmp_path / case.name.replace(" ", "-"))
            folders[-1].mkdir()
            assert CHECKS["save"](case, folders[-1]) == TOLD[case.name]["save"]
    load_all(folders, family)


@_each(CASES, waits=lambda case: case.name in LONG)
def test_hls4ml_converts_what_the_table_says(case, tmp_path):
    _need_converter(case.family)
    assert CHECKS["convert"](case, tmp_path) == TOLD[case.name]["convert"]


@pytest.mark.slow
@_each(
    case
    for case in (*CASES, *VARIANTS)
    if TOLD.get(case.name, {"convert": "yes"})["convert"] == "yes"
)
def test_what_hls4ml_converts_computes_the_same(case, tmp_path):
    _need_converter(case.family)
    assert compute(case, tmp_path) == "yes"
    assert refuse(case, tmp_path) == ""


@pytest.mark.slow
@_each(case for case in CASES if case.name in WRONG)
def test_what_hls4ml_converts_to_something_else_is_in_the_table(case, tmp_path):
    _need_converter(case.family)
    assert compute(case, tmp_path) != "yes"
    assert TOLD[case.name]["convert"].startswith("no: hls4ml ")


@_each(case for case in CASES if TOLD[case.name]["convert"] != "yes")
def test_what_hls4ml_does_not_convert_is_refused(case, tmp_path):
    _need_converter(case.family)
    assert "hls4ml" in refuse(case, tmp_path)


def test_the_page_is_written_from_the_table():
    assert write_table(TOLD) == PATH.read_text(encoding="utf-8")


def test_every_case_is_in_the_table():
    assert list(TOLD) == [case.name for case in CASES]
