"""Reports beside estimates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabricfit.hardware import RESOURCES, Estimate, Resources
from fabricfit.hls4ml.estimation import LayerEstimate, ModelEstimate
from fabricfit.synthesis.comparison import Compared, compare
from fabricfit.synthesis.reports import ModuleReport, SynthesisReport

REPORT = SynthesisReport(
    tool="Vitis HLS 2023.2",
    stage="hls",
    part="xczu7ev-ffvc1156-2-e",
    resources={"dsp": 210.0, "bram18": 3.0, "uram": 0.0, "lut": 23017.0, "ff": 7013.0},
    interval=(3, 4),
    latency=(17, 19),
)


@pytest.fixture
def estimate():
    """Estimate a model of two layers."""
    first = Resources(dsp=200, lut=Estimate(15000, 12000, 18000, "few inputs"), ff=7000)
    second = Resources(bram18=Estimate(3, 2, 4), lut=Estimate(5000, 4000, 8000), ff=13)
    return ModelEstimate(
        tuple(
            LayerEstimate(name, "Dense", "resource", 4, 10, 10, used, Estimate.exact(rf), latency)
            for name, used, rf, latency in (
                ("first", first, 4, Estimate(10, 8, 12)),
                ("second", second, 2, Estimate(5, 4, 6)),
            )
        )
    )


def test_each_resource_with_its_error_bar(estimate):
    compared = {each.name: each for each in compare(REPORT, estimate).resources}
    assert tuple(compared) == RESOURCES
    assert compared["dsp"].ratio == pytest.approx(1.05)
    assert compared["dsp"].inside is False
    assert compared["lut"].inside is True
    assert (compared["lut"].estimate.low, compared["lut"].estimate.high) == (16000, 26000)
    assert compared["bram18"].inside is True
    assert (compared["uram"].ratio, compared["uram"].inside) == (None, True)


def test_of_an_accelerator_the_network_counts(estimate):
    used = {"dsp": 200.0, "bram18": 3.0, "lut": 20000.0, "ff": 7013.0}
    inside = ModuleReport("jets", resources=used, interval=(4, 4), latency=(15, 15))
    wrapped = replace(REPORT, top="jets_axi", rows=(inside,))
    compared = compare(wrapped, estimate)
    assert compared.inside
    assert compared.latency.reported == 15
    assert compare(replace(wrapped, rows=()), estimate).latency.reported == 19


def test_of_ranges_of_cycles_the_longest_counts(estimate):
    comparison = compare(REPORT, estimate)
    assert (comparison.interval.reported, comparison.interval.inside) == (4, True)
    assert (comparison.latency.reported, comparison.latency.inside) == (19, False)
    assert comparison.latency.ratio == pytest.approx(19 / 15)


def test_what_is_not_reported_is_not_judged(estimate):
    logic = replace(REPORT, stage="logic synthesis", interval=(None, None), latency=(17, None))
    comparison = compare(logic, estimate)
    assert comparison.interval == Compared("interval", None, estimate.interval)
    assert comparison.latency.inside is comparison.latency.ratio is None
    assert not comparison.inside  # the DSPs
    fewer = {"dsp": 200.0, "ff": 5013.0, "bram18": 3.0, "lut": 10000.0}
    assert not compare(replace(REPORT, resources=REPORT.resources | fewer), estimate).inside
    assert compare(replace(logic, resources=REPORT.resources | fewer), estimate).inside


def test_plain_data(estimate):
    plain = compare(REPORT, estimate).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["resources"]["lut"] == {
        "reported": 23017,
        "estimated": 20000,
        "low": 16000,
        "high": 26000,
        "note": "few inputs",
        "ratio": pytest.approx(1.15085),
        "inside": True,
    }
    assert plain["interval"]["reported"] == 4
    assert plain["inside"] is False


def test_table(estimate):
    lines = str(compare(replace(REPORT, interval=(None, None)), estimate)).splitlines()
    assert lines[0] == "Vitis HLS 2023.2, hls, xczu7ev-ffvc1156-2-e"
    assert lines[1].split() == ["reported", "estimated", "ratio"]
    assert lines[3].split() == ["DSP", "210", "200", "1.05", "OUTSIDE"]
    assert "LUT         23,017  20,000 (16,000 … 26,000)   1.15  inside" in lines
    assert [line.split()[0] for line in lines[3:]] == [
        "DSP",
        "BRAM18",
        "LUT",
        "FF",
        "interval",
        "latency",
        "note:",
    ]
    assert lines[7].split() == ["interval", "?", "4"]
    assert lines[-1] == "note: few inputs"


@given(
    st.one_of(st.none(), st.floats(0, 1e9)),
    st.lists(st.floats(0, 1e9), min_size=3, max_size=3).map(sorted),
)
def test_inside_is_within_the_ends(reported, ends):
    low, value, high = ends
    each = Compared("lut", reported, Estimate(value, low, high))
    if reported is None:
        assert each.inside is each.ratio is None
    else:
        assert each.inside == (low <= reported <= high)
        assert (each.ratio is None) == (value == 0)
    assert set(each.to_dict()) >= {"reported", "estimated", "low", "high", "ratio", "inside"}
