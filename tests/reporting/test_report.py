from __future__ import annotations

import json

from fabricfit.description import SkipReason
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
