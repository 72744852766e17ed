"""Running synthesis, with programs that stand in for the vendor's."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.synthesis.tools import find_tool, synthesize

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stand-ins are scripts")

DATA = Path(__file__).parents[1] / "data" / "reports"
STEPS = ("reset", "csim", "synth", "cosim", "validation", "export", "vsynth", "fifo_opt")

# Does as the tools do with hls4ml's build_prj.tcl: takes its options and writes its reports.
STAND_IN = """#!{python}
import json, pathlib, re, sys, shutil
here = pathlib.Path.cwd()
opt = here / "build_opt.tcl"
if opt.exists():
    options = dict(re.findall(r"^    (\\w+) +(\\d)$", opt.read_text(), re.MULTILINE))
else:
    options = dict(pair.split("=") for pair in sys.argv[-1].split())
on = {{step for step, value in options.items() if value in ("1", "True")}}
called = {{"arguments": sys.argv[1:], "on": sorted(on), "options": list(options)}}
(here / "called.json").write_text(json.dumps(called))
print("INFO: synthesizing", flush=True)
print("INFO: on standard error", file=sys.stderr, flush=True)
if "synth" in on:
    reports = here / "jets_prj" / "solution1" / "syn" / "report"
    reports.mkdir(parents=True, exist_ok=True)
    shutil.copy("{data}/{report}", reports / "jets_csynth.xml")
if "vsynth" in on:
    shutil.copy("{data}/vivado_2023_clbs.rpt", here / "vivado_synth.rpt")
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Give the folder that is all there is on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "a project {of} mine"
    folder.mkdir()
    (folder / "project.tcl").write_text('set project_name "jets"\nset backend "vivado"\n')
    return folder


def program(folder, name, script=None, report="vitis_hls_csynth.xml"):
    file = folder / name
    standing_in = STAND_IN.format(python=sys.executable, data=DATA, report=report)
    file.write_text(standing_in if script is None else f"#!{sys.executable}\n{script}")
    file.chmod(0o755)
    return str(file)


def converted(project, backend, script="source [file join $tcldir build_opt.tcl]\n"):
    """Make what synthesize needs of a converted model, and the script that hls4ml writes for it."""
    (project / "build_prj.tcl").write_text(script)
    return SimpleNamespace(
        config=SimpleNamespace(
            backend=SimpleNamespace(name=backend), get_output_dir=lambda: str(project)
        )
    )


def called(project):
    return json.loads((project / "called.json").read_text())


def test_tools_are_found_on_the_path(programs):
    assert find_tool("Vitis") is None
    older = program(programs, "vitis_hls")
    assert find_tool("Vitis") == older
    newer = program(programs, "vitis-run")
    assert find_tool("vitis") == newer
    assert find_tool("Vivado") is None
    vivado = program(programs, "vivado_hls")
    assert find_tool("Vivado") == find_tool("VivadoAccelerator") == vivado
    with pytest.raises(InvalidInputError, match="backend must be one of 'Vivado'"):
        find_tool("Quartus")


def test_vivado_takes_options_as_an_argument(programs, project):
    program(programs, "vivado_hls", report="vivado_hls_csynth.xml")
    model = converted(project, "Vivado", "foreach arg $::argv {\n}\n")
    (report,) = synthesize(model)
    assert report.tool == "Vivado HLS 2020.1"
    options = (
        "reset=False csim=False synth=True cosim=False validation=False export=False "
        "vsynth=False fifo_opt=False"
    )
    assert called(project)["arguments"] == ["-f", "build_prj.tcl", options]


def test_vitis_takes_options_from_a_file(programs, project):
    program(programs, "vitis-run")
    (report,) = synthesize(converted(project, "Vitis"))
    assert report.tool == "Vitis HLS 2023.2"
    assert called(project) == {
        "arguments": ["--tcl", "build_prj.tcl", "--mode", "hls"],
        "on": ["synth"],
        "options": list(STEPS),
    }


def test_vitis_before_there_was_vitis_run(programs, project):
    program(programs, "vitis_hls")
    synthesize(converted(project, "Vitis"))
    assert called(project)["arguments"] == ["-f", "build_prj.tcl"]


def test_project_of_an_older_hls4ml(programs, project):
    model = converted(project, "Vitis", "foreach arg $::argv {\n}\n")
    program(programs, "vitis-run")
    with pytest.raises(InvalidInputError, match="needs vitis_hls, which is not on PATH"):
        synthesize(model)
    program(programs, "vitis_hls")
    assert len(synthesize(model)) == 1
    assert called(project)["on"] == ["synth"]
    assert not (project / "build_opt.tcl").exists()


def test_options_are_those_of_hls4ml():
    found = importlib.util.find_spec("hls4ml")
    if found is None or found.origin is None:
        pytest.skip("hls4ml is not installed")
    templates = Path(found.origin).parent / "templates"
    option_file = templates / "vitis" / "build_opt.tcl"
    if not option_file.exists():
        pytest.skip("hls4ml is older than 1.3")
    for file in (option_file, templates / "vivado" / "build_prj.tcl"):
        lines = file.read_text().partition("array set opt {")[2].partition("}")[0].split()
        assert tuple(lines[::2]) == STEPS


def test_logic_synthesis(programs, project):
    program(programs, "vitis-run")
    model = converted(project, "Vitis")
    with pytest.raises(InvalidInputError, match="logic_synthesis=True needs vivado"):
        synthesize(model, logic_synthesis=True)
    assert not (project / "called.json").exists()
    program(programs, "vivado")
    hls, logic = synthesize(model, logic_synthesis=True)
    assert (hls.stage, logic.stage) == ("hls", "logic synthesis")
    assert called(project)["on"] == ["synth", "vsynth"]
    assert [report.stage for report in synthesize(model)] == ["hls"]  # the other one is old


def test_nothing_is_printed_and_the_process_stays_where_it_is(programs, project, capfd, caplog):
    program(programs, "vitis-run")
    here = Path.cwd()
    with caplog.at_level(logging.DEBUG, logger="fabricfit"):
        synthesize(converted(project, "Vitis"))
    assert Path.cwd() == here
    assert capfd.readouterr() == ("", "")
    assert "INFO: synthesizing\nINFO: on standard error" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_tool_that_is_not_there(programs, project):
    with pytest.raises(InvalidInputError, match="vitis-run or vitis_hls, which is not on PATH"):
        synthesize(converted(project, "Vitis"))
    with pytest.raises(InvalidInputError, match="backend"):
        synthesize(converted(project, "oneAPI"))


def test_project_that_is_not_written(programs, project):
    model = converted(project, "Vitis")
    (project / "build_prj.tcl").unlink()
    with pytest.raises(InvalidInputError, match=r"hls_model\.write"):
        synthesize(model)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_timeout_must_be_positive(programs, project, timeout):
    with pytest.raises(InvalidInputError, match="timeout"):
        synthesize(converted(project, "Vitis"), timeout=timeout)


def test_failure_ends_with_what_the_tool_said(programs, project):
    program(
        programs,
        "vitis-run",
        "print('x' * 9000)\nprint('ERROR: [HLS 200-70] no license')\nraise SystemExit(3)",
    )
    with pytest.raises(FabricFitError, match="ended with status 3") as caught:
        synthesize(converted(project, "Vitis"))
    assert str(caught.value).rstrip().endswith("ERROR: [HLS 200-70] no license")
    assert len(str(caught.value)) < 4000
    assert str(project) in str(caught.value)


def test_program_that_cannot_be_started(programs, project):
    file = programs / "vitis-run"
    file.write_text("#!/no/such/interpreter\n")
    file.chmod(0o755)
    with pytest.raises(FabricFitError, match="cannot be started"):
        synthesize(converted(project, "Vitis"))


def test_report_of_an_earlier_run_does_not_count(programs, project):
    program(programs, "vitis-run")
    model = converted(project, "Vitis")
    synthesize(model)
    program(programs, "vitis-run", "print('nothing to do')")
    with pytest.raises(FabricFitError, match="wrote no report of hls") as caught:
        synthesize(model)
    assert "nothing to do" in str(caught.value)


def test_broken_report(programs, project):
    program(programs, "vitis-run", report="vivado_2020_slices.rpt")
    with pytest.raises(InvalidInputError, match="well-formed"):
        synthesize(converted(project, "Vitis"))


def test_slow_tool_is_stopped_with_what_it_started(programs, project):
    child = "import time\nwhile True:\n open('beats', 'a').write('.')\n time.sleep(0.02)"
    started = (
        "import subprocess, sys\n"
        "print('started', flush=True)\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    program(programs, "vitis-run", started)
    with pytest.raises(FabricFitError, match="had not ended after 2 seconds") as caught:
        synthesize(converted(project, "Vitis"), timeout=2)
    assert str(caught.value).rstrip().endswith("started")
    beats = (project / "beats").stat().st_size
    time.sleep(0.3)
    assert (project / "beats").stat().st_size == beats > 0
