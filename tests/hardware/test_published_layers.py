"""Laws of every tool against layers and FIFOs whose synthesis reports were published."""

import csv
from pathlib import Path

import numpy as np
import pytest
from benchmarks.report_rows import FIGURES, read_rows
from benchmarks.score_estimates import score

from fabricfit.hardware.fifos import fifo_resources
from fabricfit.hardware.targets import Target

DATA = Path(__file__).parents[1] / "data" / "synthesis"


@pytest.fixture(scope="module")
def rows():
    return [row for row in read_rows(DATA) if row.target.tool != "Vivado HLS 2020.1"]


@pytest.fixture(scope="module")
def scores():
    return score(DATA)


def test_all_rows_are_there(rows):
    tools = [row.target.tool for row in rows]
    assert {tool: tools.count(tool) for tool in tools} == {
        "Vitis HLS 2021.1": 50,
        "Vitis HLS 2024.1": 12,
        "Vivado HLS 2019.2": 3,
        "Vitis HLS 2023.2": 5,
        "Vitis HLS 2024.2": 5,
    }


def test_dsps_are_exact_where_the_binding_is_stated(scores):
    for binding in ("dsp", "fabric"):
        assert scores[f"Vitis HLS 2021.1, {binding}", "dsp"]["exact"] == 1


def test_dsps_are_exact_in_nine_of_ten_layers(rows):
    exact = [row.estimates()["dsp"].value == row.figures["dsp"] for row in rows]
    assert np.mean(exact) >= 0.9


@pytest.mark.parametrize(
    ("figure", "median"), [("lut", 0.08), ("ff", 0.2), ("ii", 0.0), ("latency", 0.01)]
)
def test_median_errors_are_small(rows, scores, figure, median):
    errors = [
        abs(row.estimates()[figure].value - row.figures[figure]) / max(row.figures[figure], 1)
        for row in rows
    ]
    assert np.median(errors) <= median
    for (tool, name), found in scores.items():
        if name == figure and found["rows"] >= 10:
            assert found["median"] <= max(2 * median, 0.02), tool


@pytest.mark.parametrize("figure", FIGURES)
def test_hardly_any_report_is_above_the_error_bar(scores, figure):
    above = {tool: found["above"] for (tool, name), found in scores.items() if name == figure}
    assert {tool: part for tool, part in above.items() if part > 0.03} == {}


@pytest.mark.parametrize("figure", FIGURES)
def test_error_bars_contain_most_reports(rows, figure):
    inside = [row.estimates()[figure] for row in rows]
    found = [e.low <= row.figures[figure] <= e.high for e, row in zip(inside, rows, strict=True)]
    assert np.mean(found) >= 0.87


def test_intervals_of_convolutions_in_streams_are_exact(rows):
    streams = [r for r in rows if r.product.is_windowed and r.product.time_multiplexed]
    assert len(streams) == 7
    for row in streams:
        assert row.estimates()["ii"].value == row.figures["ii"]


def test_fifos_use_the_published_blocks():
    with (DATA / "published_fifos.csv").open() as file:
        fifos = list(csv.DictReader(file))
    assert len(fifos) == 22
    for fifo in fifos:
        target = Target(tool=fifo["tool"])
        found = fifo_resources(int(fifo["depth"]), int(fifo["width"]), target)
        assert found["bram18"].value == int(fifo["bram18"]), fifo["id"]
        assert abs(found["ff"].value - int(fifo["ff"])) <= 5, fifo["id"]
