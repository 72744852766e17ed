"""Reports of tools, in small files of the formats that the tools write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.hardware import RESOURCES
from fabricfit.synthesis.reports import (
    STAGES,
    find_reports,
    read_csynth_xml,
    read_project,
    read_utilization,
)

DATA = Path(__file__).parents[1] / "data" / "reports"
XML = ("vivado_hls_csynth.xml", "vitis_hls_csynth.xml", "vitis_hls_design.xml")
TEXT = ("vivado_2020_slices.rpt", "vivado_2023_clbs.rpt", "vivado_2025_versal.rpt")


def text(name):
    return (DATA / name).read_text()


@pytest.fixture
def project(tmp_path):
    """Write an empty project, as hls4ml does before any tool has run."""
    (tmp_path / "project.tcl").write_text(
        'variable project_name\nset project_name "jets"\nvariable backend\nset backend "vitis"\n'
        'set part "xczu7ev-ffvc1156-2-e"\n'
    )
    (tmp_path / "build_prj.tcl").write_text("set_top ${project_name}\n")
    return tmp_path


def put(project, name, *where):
    folder = project.joinpath(*where[:-1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / where[-1]).write_text(text(name))


REPORT = ("jets_prj", "solution1", "syn", "report")


def test_vivado_hls():
    report = read_csynth_xml(DATA / "vivado_hls_csynth.xml")
    assert (report.tool, report.stage) == ("Vivado HLS 2020.1", "hls")
    assert report.part == "xcvu9p-flga2104-2-e"
    assert report.resources == {"dsp": 211, "bram18": 6, "uram": 1, "lut": 23017, "ff": 7013}
    assert report.available["dsp"] == 6840
    assert report.available["bram18"] == 4320
    assert report.interval == (3, 4)
    assert report.latency == (17, 19)
    assert (report.clock_target, report.clock_estimated) == (5.0, 4.271)
    assert report.modules == {}


def test_vitis_hls_and_what_it_does_not_know():
    report = read_csynth_xml(str(DATA / "vitis_hls_csynth.xml"))
    assert report.tool == "Vitis HLS 2023.2"
    assert report.resources == {"dsp": 34, "bram18": 12, "uram": 0, "lut": 9007, "ff": 5011}
    assert report.interval == (101, None)
    assert report.latency == (123, None)


def test_first_vitis_hls_is_known_by_its_flow_target(tmp_path):
    file = tmp_path / "csynth.xml"
    file.write_text(text("vitis_hls_csynth.xml").replace("DSP>", "DSP48E>"))
    report = read_csynth_xml(file)
    assert report.tool == "Vitis HLS 2023.2"
    assert (report.resources["dsp"], report.available["dsp"]) == (34, 1728)


def test_functions_are_listed_without_the_top():
    report = read_csynth_xml(DATA / "vitis_hls_design.xml")
    assert report.modules == {"dense_config2_s": {"dsp": 30, "ff": 1203, "lut": 2402, "bram18": 0}}


def test_report_of_a_device_without_ultra_ram(tmp_path):
    file = tmp_path / "csynth.xml"
    lines = text("vivado_hls_csynth.xml").splitlines()
    file.write_text("\n".join(line for line in lines if "URAM" not in line))
    report = read_csynth_xml(file)
    assert report.resources["uram"] == 0
    assert "uram" not in report.available


def test_clock_and_available_resources_may_be_missing(tmp_path):
    file = tmp_path / "csynth.xml"
    whole = text("vitis_hls_csynth.xml")
    start, end = whole.index("<AvailableResources>"), whole.index("</AreaEstimates>")
    bare = whole[:start] + whole[end:]
    file.write_text(bare.replace("2.905", "undef").replace("TargetClockPeriod", "Other"))
    report = read_csynth_xml(file)
    assert (report.clock_target, report.clock_estimated, report.available) == (None, None, {})


@pytest.mark.parametrize(
    ("tag", "named"),
    [
        ("Version", "ReportVersion/Version"),
        ("Part", "UserAssignments/Part"),
        ("Worst-caseLatency", "Worst-caseLatency"),
        ("Interval-min", "Interval-min"),
        ("LUT", "AreaEstimates/Resources/LUT"),
        ("DSP48E", "AreaEstimates/Resources/DSP"),
        ("Resources", "AreaEstimates/Resources"),
    ],
)
def test_what_is_missing_is_named(tmp_path, tag, named):
    file = tmp_path / "half.xml"
    whole = text("vivado_hls_csynth.xml")
    file.write_text(whole.replace(f"<{tag}>", "<X>").replace(f"</{tag}>", "</X>"))
    with pytest.raises(InvalidInputError, match=named) as caught:
        read_csynth_xml(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("value", ["many", "-4", "1e9", "nan", "", "9" * 5000])
def test_numbers_must_be_numbers(tmp_path, value):
    file = tmp_path / "csynth.xml"
    file.write_text(text("vivado_hls_csynth.xml").replace("23017", value))
    with pytest.raises(InvalidInputError, match=r"LUT.* must be a number"):
        read_csynth_xml(file)
    file.write_text(text("vivado_hls_csynth.xml").replace(">17<", f">{value}<"))
    with pytest.raises(InvalidInputError, match="Best-caseLatency"):
        read_csynth_xml(file)


def test_entities_are_refused(tmp_path):
    file = tmp_path / "csynth.xml"
    declared = '<!DOCTYPE profile [<!ENTITY lut SYSTEM "file:///etc/hostname">]>\n'
    file.write_text(declared + text("vivado_hls_csynth.xml").replace("23017", "&lut;"))
    with pytest.raises(InvalidInputError, match="document type"):
        read_csynth_xml(file)


@pytest.mark.parametrize("read", [read_csynth_xml, read_utilization])
def test_files_that_cannot_be_read(tmp_path, read):
    for path in (tmp_path / "absent", tmp_path, str(tmp_path / "null\0character")):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read(path)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(InvalidInputError, match="not a complete"):
        read(tmp_path / "binary")


def test_utilization_of_slices():
    report = read_utilization(DATA / "vivado_2020_slices.rpt")
    assert (report.tool, report.stage) == ("Vivado 2020.1", "logic synthesis")
    assert report.part == "7z020clg400-1"
    assert report.resources == {"dsp": 41, "bram18": 3, "uram": 0, "lut": 4321, "ff": 2109}
    assert report.available == {"dsp": 220, "bram18": 280, "lut": 53200, "ff": 106400}
    assert report.interval == report.latency == (None, None)
    assert report.clock_target is report.clock_estimated is None


def test_utilization_of_blocks_with_a_column_of_prohibited_sites():
    report = read_utilization(DATA / "vivado_2023_clbs.rpt")
    assert (report.tool, report.stage) == ("Vivado 2023.2", "logic synthesis")
    assert report.resources == {"dsp": 307, "bram18": 26, "uram": 2, "lut": 11003, "ff": 3907}
    assert report.available == {
        "dsp": 12288,
        "bram18": 5376,
        "uram": 1280,
        "lut": 1728000,
        "ff": 3456000,
    }


def test_utilization_after_routing_of_a_device_without_tiles():
    report = read_utilization(DATA / "vivado_2025_versal.rpt")
    assert report.stage == "implementation"
    assert report.resources == {"dsp": 901, "bram18": 51, "uram": 17, "lut": 17001, "ff": 60001}
    assert report.available["bram18"] == 1934


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ("Tool Version", "Tool Version"),
        ("Device ", "Device"),
        ("Design State", "Design State"),
        ("Slice LUTs", "Slice LUTs"),
        ("Block RAM Tile", "RAMB36E5"),
        ("DSPs", "DSP Slices"),
        ("Site Type", "a row"),
        ("4321", "'Slice LUTs' must be a number"),
    ],
)
def test_what_a_utilization_lacks_is_named(tmp_path, there, named):
    file = tmp_path / "half.rpt"
    lines = text("vivado_2020_slices.rpt").replace("RAMB18", "other").splitlines()
    file.write_text("\n".join(line.replace(there, "other") for line in lines))
    with pytest.raises(InvalidInputError, match=named) as caught:
        read_utilization(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", XML + TEXT)
def test_reports_become_plain_data(name):
    report = read_csynth_xml(DATA / name) if name in XML else read_utilization(DATA / name)
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["stage"] in STAGES
    assert tuple(plain["resources"]) == RESOURCES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.sampled_from(XML + TEXT), st.data())
def test_a_report_that_breaks_off_is_never_read_wrongly(tmp_path, name, data):
    whole = text(name)
    read = read_csynth_xml if name in XML else read_utilization
    file = tmp_path / name
    file.write_text(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        report = read(file)
    except FabricFitError:
        return
    assert report == read(DATA / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.sampled_from(XML + TEXT), st.data())
def test_a_report_with_a_spoiled_line_raises_no_other_error(tmp_path, name, data):
    lines = text(name).splitlines()
    lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(st.text(max_size=40))
    file = tmp_path / name
    file.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    try:
        report = (read_csynth_xml if name in XML else read_utilization)(file)
    except FabricFitError:
        return
    assert tuple(report.resources) == RESOURCES


def test_project_with_both_reports(project):
    put(project, "vitis_hls_csynth.xml", *REPORT, "jets_csynth.xml")
    put(project, "vivado_hls_csynth.xml", *REPORT, "dense_config2_s_csynth.xml")
    put(project, "vitis_hls_design.xml", *REPORT, "csynth.xml")
    put(project, "vivado_2023_clbs.rpt", "vivado_synth.rpt")
    hls, logic = read_project(project)
    assert (hls.stage, hls.tool) == ("hls", "Vitis HLS 2023.2")
    assert list(hls.modules) == ["dense_config2_s"]
    assert (logic.stage, logic.resources["dsp"]) == ("logic synthesis", 307)
    assert set(find_reports(str(project))) == {"hls", "logic synthesis"}


def test_project_with_one_report(project):
    put(project, "vivado_2020_slices.rpt", "vivado_synth.rpt")
    assert [report.stage for report in read_project(str(project))] == ["logic synthesis"]
    (project / "vivado_synth.rpt").unlink()
    put(project, "vitis_hls_design.xml", *REPORT, "csynth.xml")
    assert [report.stage for report in read_project(project)] == ["hls"]


def test_top_function_of_an_accelerator(project):
    settings_file = project / "project.tcl"
    settings_file.write_text(settings_file.read_text().replace("vitis", "vivadoaccelerator"))
    put(project, "vitis_hls_csynth.xml", *REPORT, "jets_csynth.xml")
    put(project, "vivado_hls_csynth.xml", *REPORT, "jets_axi_csynth.xml")
    assert read_project(project)[0].tool == "Vivado HLS 2020.1"


def test_top_function_named_by_the_build_script_alone(tmp_path):
    (tmp_path / "build_prj.tcl").write_text("open_project -reset net_prj\nset_top net\n")
    put(tmp_path, "vitis_hls_csynth.xml", "net_prj", *REPORT[1:], "net_csynth.xml")
    put(tmp_path, "vivado_hls_csynth.xml", "net_prj", *REPORT[1:], "dense_csynth.xml")
    assert read_project(tmp_path)[0].tool == "Vitis HLS 2023.2"


def test_first_solution_counts(project):
    put(project, "vivado_hls_csynth.xml", "jets_prj", "solution2", *REPORT[2:], "jets_csynth.xml")
    put(project, "vitis_hls_csynth.xml", *REPORT, "jets_csynth.xml")
    assert read_project(project)[0].tool == "Vitis HLS 2023.2"


def test_unreadable_list_of_functions_does_not_hide_the_report(project, caplog):
    put(project, "vitis_hls_csynth.xml", *REPORT, "jets_csynth.xml")
    project.joinpath(*REPORT, "csynth.xml").write_text("<profile>")
    assert read_project(project)[0].modules == {}
    assert "csynth.xml" in caplog.text


def test_project_without_reports(project):
    put(project, "vitis_hls_csynth.xml", "other_prj", *REPORT[1:], "other_csynth.xml")
    looked_for = r"jets_prj/solution\*/syn/report/jets_csynth.xml.*vivado_synth.rpt"
    with pytest.raises(InvalidInputError, match=looked_for) as caught:
        read_project(project)
    assert str(project) in str(caught.value)
    with pytest.raises(InvalidInputError, match="folder must be"):
        read_project(project / "absent")
