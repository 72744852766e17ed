from __future__ import annotations

import dataclasses
import json

import pytest

from fabricfit.description import SkipReason
from fabricfit.description.timing import Timing
from fabricfit.description.verdicts import Verdict
from fabricfit.reporting.report import LayerReport, Level, OptimizationReport

REPORT = OptimizationReport(
    units=("DSP", "BRAM18"),
    layers=(
        LayerReport("fc1", "Dense", 1024, 1024, 512, (256, 114), (128, 57)),
        LayerReport(
            "out",
            "Dense",
            160,
            160,
            160,
            (0, 18),
            (0, 18),
            "its products need no DSP",
            SkipReason.NOTHING_TO_SAVE,
        ),
    ),
    resources_before=(256, 132),
    resources_after=(128, 75),
    metric_name="accuracy",
    metric_before=0.65,
    metric_after=0.64,
    threshold=0.6,
    sparsity=0.5,
    levels=(
        Level(0.5, True, 0.64, (128, 75), 9, 1.5),
        Level(1.0, False, float("nan"), (), 0, 0.0, "cannot be reached"),
    ),
)


def test_the_table_names_every_number():
    header, rows = REPORT.rows()
    assert header == [
        "layer", "weights", "non-zero", "DSP before", "DSP after", "BRAM18 before",
        "BRAM18 after", "saved", "remark",
    ]  # fmt: skip
    assert rows[0] == [
        "fc1 (Dense)",
        "1,024",
        "512",
        "256",
        "128",
        "114",
        "57",
        "50.0% / 50.0%",
        "",
    ]
    assert rows[1][-2:] == ["- / 0.0%", "not optimized: its products need no DSP"]
    assert rows[2][:4] == ["total", "1,184", "672", "256"]


def test_the_text_is_aligned_and_tells_the_cost():
    lines = str(REPORT).splitlines()
    assert lines[-1].startswith("accuracy: 0.6500 before, 0.6400 after")
    column = lines[0].index("DSP after") + len("DSP after")
    assert [line[:column][-3:].strip() for line in lines[2:4]] == ["128", "0"]


def test_the_report_is_plain_data():
    data = json.loads(json.dumps(REPORT.to_dict(), allow_nan=False))
    assert data["layers"][0]["resources_after"] == [128, 57]
    assert data["levels"][1]["metric"] is None
    assert REPORT.skipped == {"out": "its products need no DSP"}


def test_the_kind_of_a_reason_is_written_and_read():
    data = json.loads(json.dumps(REPORT.to_dict()))
    assert [layer["skip_reason"] for layer in data["layers"]] == [None, "nothing_to_save"]
    assert OptimizationReport.from_dict(data).layers == REPORT.layers
    del (
        data["layers"][0]["skip_reason"],
        data["layers"][1]["skip_reason"],
    )  # as before it was written
    assert OptimizationReport.from_dict(data).layers[1].skip_reason is None


TIMED = dataclasses.replace(
    REPORT,
    budget=(128, 75),
    timing=(
        Timing("latency", 65, 66, 5.0, 300.0, before=130),
        Timing("interval", 64, 64, 5.0, before=64),
    ),
)


def test_deadlines_count_beside_the_resources():
    lines = str(TIMED).splitlines()
    assert "budget: 128 of 128 DSP, 75 of 75 BRAM18; it fits" in lines
    assert "latency: 130 cycles before, 65 after, 325 ns of 300 ns: does not fit" in lines
    assert "interval: 64 cycles before, 64 after, 320 ns" in lines
    assert TIMED.verdicts == (Verdict.FITS, Verdict.FITS)
    assert TIMED.verdict is Verdict.DOES_NOT_FIT and not TIMED.fits


def test_timing_is_written_and_read_and_missing_in_former_reports():
    data = json.loads(json.dumps(TIMED.to_dict(), allow_nan=False))
    assert data["timing"][0]["ns"] == 325 and data["timing"][0]["verdict"] == "does not fit"
    assert OptimizationReport.from_dict(data).timing == TIMED.timing
    for name, wrong in (("name", "delay"), ("cycles", "many"), ("deadline_ns", [])):
        damaged = {**data, "timing": [{**data["timing"][0], name: wrong}]}
        with pytest.raises((TypeError, ValueError)):
            OptimizationReport.from_dict(damaged)
    del data["timing"]
    assert OptimizationReport.from_dict(data).timing == ()
