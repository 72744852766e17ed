"""One table of all reports of a project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fabricfit.errors import InvalidInputError
from fabricfit.synthesis.reports import STAGES, find_reports, read_project
from fabricfit.synthesis.table import read_table, tabulate

DATA = Path(__file__).parents[1] / "data" / "reports"
RUNS = "jets_vivado_accelerator/project_1.runs/impl_1"
SOLUTION = "jets_prj/solution1"
DENSE = "dense_latency_ap_fixed_ap_fixed_16_6_5_3_0_config2_s"


@pytest.fixture
def project(tmp_path):
    """Write what hls4ml's VivadoAccelerator writes, before any tool has run."""
    (tmp_path / "project.tcl").write_text(
        'set project_name "jets"\nset backend "vivadoaccelerator"\n'
    )
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "jets.cpp").write_text(
        "    nnet::dense<input_t, layer2_t, config2>(x, layer2_out, w2, b2); // fc1\n"
        "    nnet::relu<layer2_t, layer4_t, relu_config4>(layer2_out, layer4_out); // fc1_relu\n"
    )
    return tmp_path


def put(project, name, where):
    (project / where).parent.mkdir(parents=True, exist_ok=True)
    (project / where).write_text((DATA / name).read_text())


@pytest.fixture
def built(project):
    put(project, "vivado_hls_2020_csynth.rpt", f"{SOLUTION}/syn/report/jets_axi_csynth.rpt")
    put(project, "vivado_hls_cosim.rpt", f"{SOLUTION}/sim/report/jets_axi_cosim.rpt")
    put(project, "vivado_2020_slices.rpt", "vivado_synth.rpt")
    put(project, "vivado_hierarchy.rpt", "util.rpt")
    put(project, "vivado_timing_summary.rpt", f"{RUNS}/design_1_wrapper_timing_summary_routed.rpt")
    return project


def test_all_stages_of_a_project(built):
    assert tuple(find_reports(built)) == STAGES
    table = read_table(built)
    assert [row.stage for row in table.rows if row.kind == "design"] == list(STAGES)
    hls = table.design("hls")
    assert (hls.tool, hls.version, hls.part) == ("Vivado HLS", "2020.1", "xc7z020-clg400-1")
    assert (hls.dsp, hls.lut, hls.interval_max, hls.clock_target) == (41, 4321, 4, 5.0)
    cosim = table.design("cosim")
    assert (cosim.tool, cosim.part, cosim.status) == ("Vivado HLS", hls.part, "Pass")
    assert (cosim.latency_min, cosim.latency_max, cosim.dsp) == (17, 21, None)
    assert table.design("logic synthesis").lut == 4321
    assert table.design("implementation").lut == 5007
    timing = table.design("timing")
    assert (timing.slack, timing.total_negative_slack, timing.lut) == (-0.113, -0.904, None)
    assert table.design("other") is None


def test_functions_are_named_by_their_layers(built):
    rows = read_table(built).rows
    by_layer = {(row.stage, row.layer): row for row in rows if row.layer}
    assert by_layer["hls", "fc1"].module == DENSE
    assert by_layer["hls", "fc1_relu"].latency_max == 1
    assert by_layer["implementation", "fc1"].lut == 3001
    assert [row.module for row in rows if row.kind == "loop"] == ["jets/ReadInput"]
    assert all(row.layer is None for row in tabulate(read_project(built)).rows)


def test_table_as_text_data_and_frame(built):
    table = read_table(built)
    plain = table.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    lines = str(table).splitlines()
    assert lines[0] == "Vivado HLS 2020.1, xc7z020-clg400-1"
    assert any(line.split()[:3] == ["hls", "jets", "41"] for line in lines)
    assert any(line.split()[:2] == ["fc1", "40"] for line in lines)
    assert not any("ReadInput" in line for line in lines)
    frame = pytest.importorskip("pandas") and table.to_frame()
    assert len(frame) == len(table.rows)
    assert list(frame["stage"].unique()) == list(STAGES)


def test_best_report_of_a_stage_counts(built):
    placed = f"{RUNS}/design_1_wrapper_utilization_placed.rpt"
    put(built, "vivado_2025_versal.rpt", placed)
    put(built, "vivado_timing_summary.rpt", f"{RUNS}/x_timing_summary_postroute_physopted.rpt")
    found = find_reports(built)
    assert found["implementation"] == built / placed
    assert "physopted" in found["timing"].name
    implementation = next(r for r in read_project(built) if r.stage == "implementation")
    assert implementation.resources["dsp"] == 901
    assert len(implementation.rows) == 2  # those of util.rpt


def test_instances_that_cannot_be_read_are_left_out(built, caplog):
    put(built, "vivado_2025_versal.rpt", f"{RUNS}/design_1_wrapper_utilization_placed.rpt")
    (built / "util.rpt").write_text("nothing")
    found = next(r for r in read_project(built) if r.stage == "implementation")
    assert found.rows == ()
    assert "util.rpt" in caplog.text


def test_exported_design_has_the_stage_that_it_says(project):
    put(project, "vitis_export.xml", f"{SOLUTION}/impl/report/verilog/jets_axi_export.xml")
    assert list(find_reports(project)) == ["implementation"]
    (report,) = read_project(project)
    assert report.stage == "logic synthesis"
    put(project, "vitis_export.rpt", f"{SOLUTION}/impl/report/verilog/export_impl.xml")
    with pytest.raises(InvalidInputError, match="well-formed"):
        read_project(project)


def test_own_files_of_functions_say_their_interval(project):
    report = f"{SOLUTION}/syn/report"
    put(project, "vitis_hls_csynth.xml", f"{report}/jets_axi_csynth.xml")
    put(project, "vitis_hls_design.xml", f"{report}/csynth.xml")
    (hls,) = read_project(project)
    assert [row.interval for row in hls.rows] == [(1, 1)]
    put(project, "vivado_hls_csynth.xml", f"{report}/dense_config2_s_csynth.xml")
    put(project, "vivado_hls_csynth.xml", f"{report}/relu_config4_s_csynth.xml")
    (hls,) = read_project(project)
    assert {row.name: row.interval for row in hls.rows} == {
        "dense_config2_s": (3, 4),
        "relu_config4_s": (3, 4),
    }
    assert [row.layer for row in read_table(project).rows] == [None, "fc1", "fc1_relu"]


def test_stages_that_are_not_asked_for_are_not_read(built):
    (built / f"{SOLUTION}/sim/report/jets_axi_cosim.rpt").write_text("broken")
    assert [r.stage for r in read_project(built, ("logic synthesis", "hls"))] == [
        "hls",
        "logic synthesis",
    ]
    with pytest.raises(InvalidInputError, match=r"cosim\.rpt is not a complete"):
        read_project(built)
