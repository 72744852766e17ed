"""The table of layers in the documentation says what is true."""

from __future__ import annotations

import keras
import pytest

from .cases import CASES
from .checks import CHECKS, load_all
from .table import PATH, read_rows, write_table

pytestmark = pytest.mark.keras

TOLD = read_rows(PATH.read_text(encoding="utf-8"))


@pytest.mark.parametrize("check", [name for name in CHECKS if name not in ("save", "convert")])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_table_says_is_true(case, check, tmp_path):
    assert CHECKS[check](case, tmp_path) == TOLD[case.name][check]


@pytest.mark.parametrize("family", sorted({case.family for case in CASES}))
def test_results_load_without_fabricfit(family, tmp_path):
    folders = []
    for case in CASES:
        if case.family == family:
            folders.append(tmp_path / case.name.replace(" ", "-"))
            folders[-1].mkdir()
            assert CHECKS["save"](case, folders[-1]) == TOLD[case.name]["save"]
    load_all(folders, family)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hls4ml_converts_what_the_table_says(case, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the converter is the same on all backends, and is tried on one")
    assert CHECKS["convert"](case, tmp_path) == TOLD[case.name]["convert"]


def test_the_page_is_written_from_the_table():
    assert write_table(TOLD) == PATH.read_text(encoding="utf-8")
