"""Reports of every stage and version, in small files of the formats that the tools write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.hardware import RESOURCES
from fabricfit.synthesis.reports import (
    read_cosim,
    read_csynth_text,
    read_csynth_xml,
    read_export,
    read_report,
    read_timing,
    read_utilization,
)

DATA = Path(__file__).parents[1] / "data" / "reports"
DENSE = "dense_latency_ap_fixed_ap_fixed_16_6_5_3_0_config2_s"
RELU = "relu_ap_fixed_ap_fixed_16_6_5_3_0_relu_config4_s"
KINDS = {
    "vivado_hls_2019_csynth.rpt": read_csynth_text,
    "vivado_hls_2020_csynth.rpt": read_csynth_text,
    "vitis_hls_2021_csynth.rpt": read_csynth_text,
    "vitis_hls_summary.rpt": read_csynth_text,
    "vivado_hls_cosim.rpt": read_cosim,
    "vitis_hls_cosim.rpt": read_cosim,
    "vivado_timing_summary.rpt": read_timing,
    "vivado_hierarchy.rpt": read_utilization,
    "vitis_export.rpt": read_export,
    "vitis_export.xml": read_export,
}
OTHERS = (
    *("vivado_hls_csynth.xml", "vitis_hls_design.xml"),
    *("vivado_2020_slices.rpt", "vivado_2023_clbs.rpt", "vivado_2025_versal.rpt"),
)


def text(name):
    return (DATA / name).read_text()


@pytest.fixture
def write(tmp_path):
    """Write a changed copy of a report."""

    def written(name, *changes):
        whole = text(name)
        for old, new in changes:
            assert old in whole
            whole = whole.replace(old, new)
        (tmp_path / name).write_text(whole)
        return tmp_path / name

    return written


@pytest.mark.parametrize(
    ("name", "tool", "uram"),
    [
        ("vivado_hls_2019_csynth.rpt", "Vivado HLS 2019.1", None),
        ("vivado_hls_2020_csynth.rpt", "Vivado HLS 2020.1", 0),
        ("vitis_hls_2021_csynth.rpt", "Vitis HLS 2021.1", 0),
    ],
)
def test_text_of_hls(name, tool, uram):
    report = read_csynth_text(DATA / name)
    assert (report.tool, report.version) == (tool, tool[-6:])
    assert (report.stage, report.part, report.top) == ("hls", "xc7z020-clg400-1", "jets")
    assert report.resources == {"dsp": 41, "bram18": 6, "uram": 0, "lut": 4321, "ff": 2109}
    assert report.available["dsp"] == 220
    assert (report.latency, report.interval) == ((17, 19), (3, 4))
    assert (report.clock_target, report.clock_estimated) == (5.0, 4.371)
    assert report.clock_uncertainty == 0.62
    dense, relu, loop = report.rows
    assert (dense.name, dense.latency, dense.interval) == (DENSE, (7, 7), (3, 3))
    assert dense.resources == {"dsp": 40, "bram18": 4, "lut": 3907, "ff": 1803} | (
        {} if uram is None else {"uram": uram}
    )
    assert (relu.name, relu.resources["lut"]) == (RELU, 336)
    assert (loop.name, loop.kind, loop.latency) == ("jets/ReadInput", "loop", (12, None))
    assert loop.interval == (1, 1)
    assert list(report.modules) == [DENSE, RELU]


def test_units_of_clocks(write):
    file = write(
        "vitis_hls_2021_csynth.rpt", ("|  5.00 ns|", "|  0.25 us|"), ("4.371 ns", "4.371 hz")
    )
    report = read_csynth_text(file)
    assert (report.clock_target, report.clock_estimated) == (250, None)


def test_summary_of_vitis_hls():
    report = read_csynth_text(DATA / "vitis_hls_summary.rpt")
    assert report.tool == "Vitis HLS 2023.2"
    assert report.resources == {"dsp": 134, "bram18": 16, "uram": 0, "lut": 19007, "ff": 15011}
    assert (report.latency, report.interval, report.available) == ((43, 43), (2, 2), {})
    assert report.clock_target is report.clock_estimated is None
    dense, relu, loop = report.rows
    assert dense.name == DENSE
    assert dense.resources == {"dsp": 130, "bram18": 0, "uram": 0, "lut": 12402, "ff": 11203}
    assert (relu.name, relu.latency, relu.interval) == (RELU, (None, None), (None, None))
    assert (loop.name, loop.kind) == (f"{RELU}/CopyMain", "loop")
    assert (loop.latency, loop.resources) == ((2, 40), {})


def test_cosim_of_both_tools():
    report = read_cosim(DATA / "vivado_hls_cosim.rpt")
    assert (report.stage, report.status, report.top) == ("cosim", "Pass", "vivado_hls")
    assert (report.latency, report.interval) == ((17, 21), (3, 5))
    assert report.tool is report.part is report.version is None
    assert report.resources == {}
    one = read_cosim(DATA / "vitis_hls_cosim.rpt")
    assert (one.latency, one.interval) == ((777, 777), (None, None))


def test_cosim_that_failed_or_was_not_run(write):
    failed = write("vitis_hls_cosim.rpt", ("Pass", "Fail"), ("777", " NA"))
    report = read_cosim(failed)
    assert (report.status, report.latency) == ("Fail", (None, None))
    nothing = read_cosim(write("vitis_hls_cosim.rpt", ("Pass", "  NA"), ("777", " NA")))
    assert (nothing.status, nothing.latency) == ("NA", (None, None))


def test_cosim_with_a_list_of_transactions(tmp_path):
    file = tmp_path / "sim" / "report" / "jets_cosim.rpt"
    listed = tmp_path / "sim" / "verilog" / "jets.performance.result.transaction.xml"
    for each in (file, listed):
        each.parent.mkdir(parents=True)
    file.write_text(text("vitis_hls_cosim.rpt").replace("777", " NA"))
    assert read_cosim(file).latency == (None, None)
    listed.write_text(
        "transaction        0:        17        x\ntransaction        1:        19        4\n"
    )
    report = read_cosim(file)
    assert (report.latency, report.interval, report.top) == ((17, 19), (4, 4), "jets")


def test_timing():
    report = read_timing(DATA / "vivado_timing_summary.rpt")
    assert (report.tool, report.stage, report.part) == ("Vivado 2020.1", "timing", "7z020-clg400")
    assert (report.slack, report.total_negative_slack, report.hold_slack) == (-0.113, -0.904, 0.052)
    assert (report.clock_target, report.clock_estimated) == (5.0, 5.113)
    assert (report.status, report.top, report.resources) == ("not met", "design_1_wrapper", {})


def test_timing_that_is_met_or_has_no_paths(write):
    met = write(
        "vivado_timing_summary.rpt",
        ("-0.113", " 0.113"),
        ("-0.904", " 0.000"),
        ("Timing constraints are not met", "All user specified timing constraints are met"),
    )
    assert (read_timing(met).status, read_timing(met).clock_estimated) == ("met", 4.887)
    none = read_timing(write("vivado_timing_summary.rpt", ("-0.113", "    NA")))
    assert (none.slack, none.status, none.clock_estimated) == (None, None, None)


def test_utilization_by_hierarchy(write):
    report = read_utilization(DATA / "vivado_hierarchy.rpt")
    assert (report.stage, report.part, report.top) == (
        "implementation",
        "7z020clg400-1",
        "design_1_wrapper",
    )
    assert report.resources == {"dsp": 42, "bram18": 7, "uram": 0, "lut": 5007, "ff": 6011}
    assert report.available == {}
    accelerator, dense = report.rows
    assert accelerator.name == "design_1_jets_axi_0_0"
    assert accelerator.resources["lut"] == 4001
    assert (dense.name.endswith(DENSE), dense.resources["bram18"]) == (True, 3)
    newer = read_utilization(
        write(
            "vivado_hierarchy.rpt", ("DSP48 Blocks", "DSP Blocks  "), ("  LUTRAMs ", "   URAM   ")
        )
    )
    assert (newer.resources["dsp"], newer.resources["uram"]) == (42, 200)


def test_exported_designs():
    report = read_export(DATA / "vitis_export.rpt")
    assert (report.tool, report.stage) == ("Vivado 2022.2", "implementation")
    assert report.part == "xczu7ev-ffvc1156-2-e"
    assert report.resources == {"dsp": 26, "bram18": 5, "uram": 1, "lut": 3407, "ff": 2791}
    assert (report.clock_target, report.clock_estimated) == (4.0, 4.363)
    assert (report.status, report.slack) == ("not met", None)
    xml = read_export(DATA / "vitis_export.xml")
    assert (xml.tool, xml.stage, xml.part) == ("Vivado 2022.2", "logic synthesis", report.part)
    assert xml.resources["lut"] == 3610
    assert xml.available["bram18"] == 624
    assert (xml.clock_estimated, xml.slack, xml.status) == (3.548, 0.452, "met")
    assert xml.modules == {DENSE: {"dsp": 26, "bram18": 0, "uram": 0, "lut": 2402, "ff": 1203}}


def test_older_exports_say_less(write):
    file = write(
        "vitis_export.xml",
        ("<RUN_TYPE>synth</RUN_TYPE>", ""),
        ("<CP_ROUTE>NA<", "<CP_ROUTE>4.363<"),
        ("<URAM>1</URAM>", ""),
        ("v.2022.2", ""),
        ("Target device", "Other"),
    )
    report = read_export(file)
    assert (report.tool, report.part, report.stage) == (None, None, "implementation")
    assert report.resources["uram"] == 0


def test_functions_and_loops_in_xml(write):
    loops = """<SummaryOfLoopLatency><CopyMain><Name>CopyMain</Name><TripCount><range><min>0</min>
        <max>9</max></range></TripCount><Latency><range><min>3</min><max>?</max></range></Latency>
        <PipelineII>1</PipelineII><Inner><TripCount>4</TripCount><Latency>undef</Latency></Inner>
        </CopyMain></SummaryOfLoopLatency></PerformanceEstimates><AreaEstimates>"""
    file = write(
        "vitis_hls_design.xml",
        ("</PerformanceEstimates>\n            <AreaEstimates>", loops),
        ("<PipelineInitiationInterval>1<", "<PipelineInitiationInterval>1 ~ 8<"),
    )
    report = read_csynth_xml(file)
    dense, outer, inner = report.rows
    assert (dense.interval, dense.latency, dense.clock_estimated) == ((1, 8), (7, 7), 2.731)
    assert (outer.name, outer.latency) == ("dense_config2_s/CopyMain", (3, None))
    assert (inner.name, inner.latency) == ("dense_config2_s/Inner", (None, None))
    assert (report.top, report.clock_uncertainty) == ("jets", 1.08)


@pytest.mark.parametrize("name", KINDS)
def test_kind_is_told_by_the_text(name):
    report = KINDS[name](DATA / name)
    assert read_report(DATA / name) == report
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert tuple(report.resources) in (RESOURCES, ())


@pytest.mark.parametrize("name", OTHERS)
def test_kinds_of_before_are_told_as_well(name):
    read = read_csynth_xml if name.endswith("xml") else read_utilization
    assert read_report(DATA / name) == read(DATA / name)


def test_unknown_file(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("LUT: 3\n")
    with pytest.raises(
        InvalidInputError, match=r"notes\.txt is no report .*Expected csynth\.xml.*Received"
    ):
        read_report(file)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_report(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("vitis_hls_2021_csynth.rpt", ("* Version", "* Other"), "Version"),
        ("vitis_hls_2021_csynth.rpt", ("|Total ", "|Whole "), "'Total'"),
        ("vitis_hls_2021_csynth.rpt", ("4321", "many"), "LUT must be a number"),
        ("vitis_hls_2021_csynth.rpt", ("== Interface", "=="), "it ends before"),
        ("vivado_hls_2020_csynth.rpt", ("  Clock ", "  Watch "), "of the clock"),
        ("vivado_hls_2020_csynth.rpt", ("HLS Report", "Report"), "HLS Report for"),
        ("vitis_hls_summary.rpt", ("|+ jets", "|* jets"), "must start with"),
        ("vitis_hls_summary.rpt", ("Modules", "Things"), "modules and loops"),
        ("vitis_hls_cosim.rpt", ("Verilog", "Other"), None),
        ("vitis_hls_cosim.rpt", ("777", "a1b"), "must be a number"),
        ("vivado_timing_summary.rpt", ("Device", "Other"), "Device"),
        ("vivado_timing_summary.rpt", ("WNS(ns)", "Wns(ns)"), "no complete row"),
        ("vivado_timing_summary.rpt", ("-0.113", "0.1e-3"), r"WNS\(ns\) must be a number"),
        ("vivado_hierarchy.rpt", ("RAMB36", "RAMB99"), "RAMB36"),
        ("vitis_export.rpt", ("BRAM:", "ROM:"), "no number of BRAM"),
        ("vitis_export.rpt", ("#=== Post", "Post"), "Resource usage"),
        ("vitis_export.xml", ("AreaReport", "Area"), "AreaReport/Resources"),
    ],
)
def test_what_is_missing_is_named(write, name, change, named):
    file = write(name, change)
    if named is None:  # the other language's row is left
        assert KINDS[name](file).status == "NA"
        return
    with pytest.raises(InvalidInputError, match=named) as caught:
        KINDS[name](file)
    assert str(file) in str(caught.value)
    assert "pass the file" in str(caught.value)


def test_entities_are_refused_in_exports_too(write):
    bomb = '<!DOCTYPE profile [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<profile>'
    with pytest.raises(InvalidInputError, match="document type"):
        read_export(write("vitis_export.xml", ("<profile>", bomb)))


@pytest.mark.parametrize("name", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_a_report_that_breaks_off_is_never_read_wrongly(tmp_path, name, data):
    whole = text(name)
    file = tmp_path / name
    file.write_text(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        report = KINDS[name](file)
    except FabricFitError:
        return
    assert report == KINDS[name](DATA / name)


@pytest.mark.parametrize("name", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_a_report_with_a_spoiled_line_raises_no_other_error(tmp_path, name, data):
    lines = text(name).splitlines()
    lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(st.text(max_size=40))
    file = tmp_path / name
    file.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    try:
        report = KINDS[name](file)
    except FabricFitError:
        return
    assert tuple(report.resources) in (RESOURCES, ())
