"""Reports of AMD's tools on a project, read from their files, in fabricfit's units.

:func:`read_project` reads all of an hls4ml project: the estimates of Vivado HLS and Vitis HLS, the cycles of
a co-simulation, the usage that Vivado counts after logic synthesis and implementation, and its timing.
:func:`read_report` reads a single file of any of these kinds; :func:`fabricfit.synthesis.table.tabulate`
makes one table of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Container
from dataclasses import replace
from pathlib import Path

from fabricfit.errors import InvalidInputError
from fabricfit.synthesis._cosim import read_cosim
from fabricfit.synthesis._csynth import read_csynth_xml
from fabricfit.synthesis._csynth_text import read_csynth_text
from fabricfit.synthesis._export import read_export
from fabricfit.synthesis._report import STAGES, ModuleReport, SynthesisReport, read_text
from fabricfit.synthesis._timing import read_timing
from fabricfit.synthesis._utilization import read_utilization

__all__ = [
    "STAGES",
    "ModuleReport",
    "SynthesisReport",
    "find_reports",
    "read_cosim",
    "read_csynth_text",
    "read_csynth_xml",
    "read_export",
    "read_project",
    "read_report",
    "read_timing",
    "read_utilization",
]

logger = logging.getLogger(__name__)

_SETTING = re.compile(r'^\s*set (project_name|backend) "?([\w.-]+)"?\s*$', re.MULTILINE)
_TOP = re.compile(r"^\s*set_top (\w+)\s*$", re.MULTILINE)

_SIGNS: dict[str, Callable[[str | Path], SynthesisReport]] = {
    r"^Timing Summary Report|report_timing_summary": read_timing,
    r"report_utilization|^\|\s*Design State\s*:": read_utilization,
    r"^== (Vivado HLS Report|Vitis HLS Report|Synthesis Summary Report) (for|of) ": read_csynth_text,
    r"^#=== Post-|<AreaReport>": read_export,
    r"<AreaEstimates>|<UserAssignments>": read_csynth_xml,
    r"^\|\s*(VHDL|Verilog|SystemC)\s*\|": read_cosim,
}
"""What a file of each kind has in it -> what reads it."""


def read_report(path: str | Path) -> SynthesisReport:
    """Read a report of any kind that :func:`read_project` reads; its text tells the kind.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is of no known kind, or lacks a part of its kind.
    """
    text = read_text(Path(path), "report of Vivado HLS, Vitis HLS or Vivado")
    for sign, read in _SIGNS.items():
        if re.search(sign, text, re.MULTILINE):
            return read(path)
    raise InvalidInputError(
        f"{path} is no report that is known. Expected csynth.xml or csynth.rpt, cosim.rpt, the report of "
        "report_utilization or report_timing_summary, or an export report. Received: a file of "
        f"{len(text):,} characters without their titles. Pass the file that the tool wrote."
    )


def read_project(
    folder: str | Path, stages: Container[str] = STAGES
) -> tuple[SynthesisReport, ...]:
    """Read the reports in the folder of an hls4ml project.

    Parameters
    ----------
    folder
        Folder of the project, in which the tools were run.
    stages
        The stages whose reports are read; all of :data:`STAGES` by default.

    Returns
    -------
    tuple
        One report for each of :data:`STAGES`, in their order, as far as they exist. Tool and part of a
        co-simulation, of which its report says nothing, are those of the report of HLS.

    Raises
    ------
    InvalidInputError
        There is no report, or one is not complete.
    """
    folder = Path(folder)
    found = {stage: path for stage, path in find_reports(folder).items() if stage in stages}
    if not found:
        looked_for = [name for names in _list_patterns(folder).values() for name in names]
        raise InvalidInputError(
            f"{folder} has no synthesis report. Looked for {' and '.join(looked_for)}. "
            "Synthesize the project first, or pass the folder that hls4ml wrote it to."
        )
    reports: dict[str, SynthesisReport] = {}
    for stage, path in found.items():
        report = _choose_reader(stage, path)(path)
        reports.setdefault(report.stage, _add_modules(report, path, folder))
    hls = reports.get("hls")
    if hls is not None and "cosim" in reports:
        reports["cosim"] = replace(reports["cosim"], tool=hls.tool, part=hls.part)
    return tuple(reports[stage] for stage in STAGES if stage in reports)


def find_reports(folder: str | Path) -> dict[str, Path]:
    """Find the report files in the folder of an hls4ml project.

    Parameters
    ----------
    folder
        Folder of the project.

    Returns
    -------
    dict
        A stage of :data:`STAGES` -> file, as far as they exist. Where a project has several
        solutions, that of the first. A report of an exported design (``<function>_export``) is under
        ``'implementation'``, also where it is of logic synthesis.

    Raises
    ------
    InvalidInputError
        There is no such folder.
    """
    folder = Path(folder)
    found = {}
    for stage, patterns in _list_patterns(folder).items():
        files = (file for name in patterns for file in sorted(folder.glob(name)) if file.is_file())
        file = next(files, None)
        if file is not None:
            found[stage] = file
    return found


def _list_patterns(folder: Path) -> dict[str, list[str]]:
    """Return patterns of the reports in a folder, by stage, the best first."""
    if not folder.is_dir():
        raise InvalidInputError(
            f"folder must be a folder that hls4ml wrote a project to. Received: folder={str(folder)!r}"
            ", which does not exist. Write the project first."
        )
    settings = dict(_SETTING.findall(_read_script(folder / "project.tcl")))
    project = settings.get("project_name")
    top = project
    if project is None:
        named = _TOP.search(_read_script(folder / "build_prj.tcl"))
        top = named[1] if named else None
    elif "accelerator" in settings.get("backend", ""):
        top = f"{project}_axi"
    solution = f"{project or '*'}_prj/solution*"
    runs = f"{project or '*'}_vivado_accelerator/project_1.runs/impl_1"
    export = f"{solution}/impl/report/*"
    return {
        "hls": [
            f"{solution}/syn/report/{name}"
            for name in (
                *([f"{top}_csynth.xml"] if top else []),
                "csynth.xml",
                *([f"{top}_csynth.rpt"] if top else []),
                "csynth.rpt",
            )
        ],
        "cosim": [f"{solution}/sim/report/{top or '*'}_cosim.rpt"],
        "logic synthesis": ["vivado_synth.rpt", f"{export}/export_syn.xml"],
        "implementation": [
            f"{runs}/*_utilization_placed.rpt",
            "util.rpt",
            f"{export}/export_impl.xml",
            f"{export}/{top or '*'}_export.xml",
            f"{export}/{top or '*'}_export.rpt",
        ],
        "timing": [
            f"{runs}/*_timing_summary_postroute_physopted.rpt",
            f"{runs}/*_timing_summary_routed.rpt",
        ],
    }


def _choose_reader(stage: str, path: Path) -> Callable[[str | Path], SynthesisReport]:
    """Return what reads a file that lies where a stage's report must be."""
    if stage == "hls":
        return read_csynth_xml if path.suffix == ".xml" else read_csynth_text
    if stage in ("logic synthesis", "implementation"):
        return read_export if "export" in path.stem.split("_") else read_utilization
    return read_cosim if stage == "cosim" else read_timing


def _read_script(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _add_modules(report: SynthesisReport, path: Path, folder: Path) -> SynthesisReport:
    """Add what further files say of functions and instances; one that cannot be read is left out."""
    try:
        if report.stage == "hls":
            return replace(report, rows=_list_functions(report, path))
        if report.stage == "implementation" and path.parent != folder and not report.rows:
            return replace(report, rows=read_utilization(folder / "util.rpt").rows)
    except InvalidInputError as error:
        if (folder / "util.rpt").is_file() or report.stage == "hls":
            logger.warning("the resource usage of functions is left out: %s", error)
    return report


def _list_functions(report: SynthesisReport, path: Path) -> tuple[ModuleReport, ...]:
    """Return the functions of a design: Vitis HLS lists them in a second file, and all have one of their own.

    The interval in a function's own file is its own; the list has that of an inner loop instead.
    """
    rows = {row.name: row for row in report.rows}
    listed = path.with_name("csynth.xml")
    if path.suffix == ".xml" and listed != path and listed.is_file():
        rows = {row.name: row for row in read_csynth_xml(listed).rows} | rows
    for file in sorted(path.parent.glob("*_csynth.xml")):
        name = file.stem.removesuffix("_csynth")
        if file == path or name == report.top:
            continue
        own = read_csynth_xml(file)
        rows[name] = ModuleReport(
            name, "module", own.resources, own.interval, own.latency, own.clock_estimated
        )
        rows |= {loop.name: loop for loop in own.rows if loop.kind == "loop"}
    return tuple(rows.values())
