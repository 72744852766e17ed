"""What a result prints: ten lines that fit any terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from fabricfit.description.timing import Timing
from fabricfit.reporting.report import OptimizationReport
from fabricfit.reporting.report_parts import BuiltLayer
from fabricfit.reporting.summary import spell_metric, summarize
from fabricfit.tables import Document
from tests.reporting.test_report import REPORT

FITTED = dataclasses.replace(
    REPORT,
    budget=(150.0, 70.0),
    highest=(160.0, 75.0),
    timing=(Timing("latency", 4, 5, 5.0, 21.0, 4), Timing("interval", 1, 1, 5.0, None, 1)),
    metric_errors=(0.00766, 0.0162),
    evaluated="the quantized network, bit for bit, on 4,000 validation samples",
    built=(BuiltLayer("fc1", "Dense", "Latency", 1, "fixed<8,2>", "fixed<16,6>", 2.0, 1.0),),
    built_for=(("part", "xc7z020"), ("clock", "5 ns (200 MHz)")),
)


def test_a_result_is_told_in_ten_lines():
    lines = str(Document([summarize(FITTED, "tagger", Path("/runs/run-0001"))])).splitlines()
    assert len(lines) <= 11
    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line[0] != " "}
    assert told["tagger"] == "does not fit the budget"
    assert told["accuracy"].startswith("0.6500 ± 0.0077 → 0.640 ± 0.016, 0.6 was required")
    assert told["DSP"] == "256 → 128 of 150, up to 160: may fit"
    assert told["BRAM18"] == "132 → 75 of 70: does not fit"
    assert told["latency"] == "4 → 4 cycles, 20 ns of 21 ns, up to 25 ns: may fit"
    assert told["weights"] == "672 of 1,184 are not zero"
    assert told["run"] == "/runs/run-0001" and "write_report()" in told["next"]


@pytest.mark.parametrize("width", [60, 80])
def test_the_summary_fits_a_terminal(width):
    lines = Document([summarize(FITTED, "tagger", Path("/runs/run-0001"))]).lines(width)
    assert max(map(cell_len, lines)) <= width and len(lines) <= 15


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.6315, 0.0076, "0.6315 ± 0.0076"),
        (123.456, 12.3, "123 ± 12"),
        (0.5688, 0.00998, "0.569 ± 0.010"),
        (0.5, np.nan, "0.5"),
        (1.0, 0.0, "1"),
        (0.5, 1e-17, "0.5"),
        (0.0, 0.25, "0.00 ± 0.25"),
        (np.nan, 0.1, "not known"),
    ],
)
def test_a_metric_has_the_digits_of_its_error(value, error, text):
    assert spell_metric(value, error) == text


def test_how_layers_are_built_is_part_of_the_report():
    again = OptimizationReport.from_dict(FITTED.to_dict())
    for name in ("built", "built_for", "metric_errors"):
        assert getattr(again, name) == getattr(FITTED, name)
    wrong = FITTED.to_dict()
    wrong["built"][0]["reuse_factor"] = "1"
    with pytest.raises(TypeError, match="a number was expected"):
        OptimizationReport.from_dict(wrong)
