"""Reports of AMD's tools on a project, read from their files, in fabricfit's units.

:func:`read_csynth_xml` reads the estimates of Vivado HLS and Vitis HLS, :func:`read_utilization` the
usage that Vivado counts after logic synthesis or implementation, and :func:`read_project` both from the
folder of an hls4ml project.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

from fabricfit.errors import InvalidInputError
from fabricfit.synthesis._csynth import read_csynth_xml
from fabricfit.synthesis._report import STAGES, SynthesisReport
from fabricfit.synthesis._utilization import read_utilization

__all__ = [
    "STAGES",
    "SynthesisReport",
    "find_reports",
    "read_csynth_xml",
    "read_project",
    "read_utilization",
]

logger = logging.getLogger(__name__)

_SETTING = re.compile(r'^\s*set (project_name|backend) "?([\w.-]+)"?\s*$', re.MULTILINE)
_TOP = re.compile(r"^\s*set_top (\w+)\s*$", re.MULTILINE)


def read_project(folder: str | Path) -> tuple[SynthesisReport, ...]:
    """Read the reports in the folder of an hls4ml project.

    Parameters
    ----------
    folder
        Folder of the project, in which the tools were run.

    Returns
    -------
    tuple
        The report of HLS, then that of logic synthesis, as far as they exist.

    Raises
    ------
    InvalidInputError
        There is no report, or one is not complete.
    """
    folder = Path(folder)
    found = find_reports(folder)
    if not found:
        raise InvalidInputError(
            f"{folder} has no synthesis report. Looked for {' and '.join(_list_patterns(folder))}. "
            "Synthesize the project first, or pass the folder that hls4ml wrote it to."
        )
    reports = []
    if "hls" in found:
        reports.append(_add_modules(read_csynth_xml(found["hls"]), found["hls"]))
    if "logic synthesis" in found:
        reports.append(read_utilization(found["logic synthesis"]))
    return tuple(reports)


def find_reports(folder: str | Path) -> dict[str, Path]:
    """Find the report files in the folder of an hls4ml project.

    Parameters
    ----------
    folder
        Folder of the project.

    Returns
    -------
    dict
        ``'hls'`` and ``'logic synthesis'`` -> file, as far as they exist. Where a project has several
        solutions, that of the first.

    Raises
    ------
    InvalidInputError
        There is no such folder.
    """
    folder = Path(folder)
    *hls, logic = _list_patterns(folder)
    files = [file for pattern in hls for file in sorted(folder.glob(pattern)) if file.is_file()]
    found = {"hls": files[0]} if files else {}
    if (folder / logic).is_file():
        found["logic synthesis"] = folder / logic
    return found


def _list_patterns(folder: Path) -> list[str]:
    """Return patterns of the reports in a folder: of the top function, of all functions, of the netlist."""
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
    where = f"{project or '*'}_prj/solution*/syn/report"
    names = ([f"{top}_csynth.xml"] if top else []) + ["csynth.xml"]
    return [*(f"{where}/{name}" for name in names), "vivado_synth.rpt"]


def _read_script(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _add_modules(report: SynthesisReport, path: Path) -> SynthesisReport:
    """Add the usage of functions, which Vitis HLS lists in a second file."""
    beside = path.with_name("csynth.xml")
    if report.modules or not beside.is_file():
        return report
    try:
        return replace(report, modules=read_csynth_xml(beside).modules)
    except InvalidInputError as error:
        logger.warning("the resource usage of functions is left out: %s", error)
        return report
