"""Synthesis of hls4ml's projects with the tools of its backends; their output is logged, not printed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

from fabricfit.errors import FabricFitError, InvalidInputError, spell, unknown_name
from fabricfit.synthesis.reports import SynthesisReport, find_reports, read_project

__all__ = ["find_tool", "synthesize"]

logger = logging.getLogger(__name__)

_TOOLS = {
    "Vivado": ("vivado_hls",),
    "VivadoAccelerator": ("vivado_hls",),
    "Vitis": ("vitis-run", "vitis_hls"),
}
"""Backend -> the programs that can synthesize its projects, the one that hls4ml 1.3 calls first."""

_STEPS = ("reset", "csim", "synth", "cosim", "validation", "export", "vsynth", "fifo_opt")
"""The options of hls4ml's build_prj.tcl, in its order: the script uses the first match of ``synth=``."""

_TAIL_CHARACTERS = 3000


def find_tool(backend: str) -> str | None:
    """Find the program that synthesizes the projects of an hls4ml backend.

    Parameters
    ----------
    backend
        ``'Vivado'``, ``'VivadoAccelerator'`` or ``'Vitis'``; case does not matter.

    Returns
    -------
    str or None
        The program's path; ``None`` where it is not on PATH.

    Raises
    ------
    InvalidInputError
        The backend has no such program, or is not known.
    """
    return _find_program(_list_programs(backend))


def synthesize(
    hls_model: Any, *, logic_synthesis: bool = False, timeout: float | None = None
) -> tuple[SynthesisReport, ...]:
    """Synthesize a written hls4ml project and read the reports.

    The backend's HLS tool runs in the project's folder as ``hls_model.build(csim=False, synth=True,
    vsynth=logic_synthesis)`` would run it. Its output is logged at level DEBUG when it ends.

    Parameters
    ----------
    hls_model
        A converted model whose project has been written (``hls_model.write()``).
    logic_synthesis
        Whether Vivado's logic synthesis follows, which counts the cells of the netlist.
    timeout
        Time in seconds after which the tool and all processes that it started are stopped; no limit by
        default.

    Returns
    -------
    tuple
        The report of HLS and, with ``logic_synthesis=True``, that of logic synthesis.

    Raises
    ------
    InvalidInputError
        The project has not been written, the backend has no tool that fabricfit knows, or the tool is
        not on PATH.
    FabricFitError
        The tool fails, exceeds the timeout or writes no report; the message ends with its output.
    """
    folder = Path(hls_model.config.get_output_dir()).resolve()
    _check_options(folder, logic_synthesis, timeout)
    command = _build_command(str(hls_model.config.backend.name), folder, logic_synthesis)
    before = _list_written(folder)
    output = _run_command(command, folder, timeout)
    after = _list_written(folder)
    stages = ("hls", "logic synthesis") if logic_synthesis else ("hls",)
    for stage in stages:
        if after.get(stage) in (None, before.get(stage)):
            raise FabricFitError(
                f"{command[0]} ended without an error, but wrote no report of {stage} in {folder}. "
                f"Its output:\n{output[-_TAIL_CHARACTERS:]}"
            )
    return read_project(folder, stages)


def _check_options(folder: Path, logic_synthesis: bool, timeout: float | None) -> None:
    if timeout is not None and not timeout > 0:
        raise InvalidInputError(
            f"timeout must be a number of seconds above 0. Received: timeout={spell(timeout)}"
        )
    if not (folder / "build_prj.tcl").is_file():
        raise InvalidInputError(
            f"hls_model must have been written, but its folder {folder} has no build_prj.tcl. Call "
            "hls_model.write() first."
        )
    if logic_synthesis and shutil.which("vivado") is None:
        raise _missing_program(("vivado",), "logic_synthesis=True")


def _list_programs(backend: str) -> tuple[str, ...]:
    known = {name.lower(): programs for name, programs in _TOOLS.items()}
    if str(backend).lower() not in known:
        raise unknown_name("backend", backend, _TOOLS)
    return known[str(backend).lower()]


def _missing_program(programs: tuple[str, ...], purpose: str) -> InvalidInputError:
    return InvalidInputError(
        f"{purpose} needs {' or '.join(programs)}, which is not on PATH. Set up the vendor's "
        "environment first (its settings64.sh), or leave the synthesis out."
    )


def _find_program(programs: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, programs)), None)


def _build_command(backend: str, folder: Path, logic_synthesis: bool) -> list[str]:
    """Return the command that synthesizes a project; its options may go to a file in the folder."""
    programs = _list_programs(backend)
    script = (folder / "build_prj.tcl").read_text(encoding="utf-8", errors="replace")
    in_file = "build_opt.tcl" in script
    if not in_file:  # written before hls4ml 1.3: options are arguments, and vitis-run accepts none
        programs = tuple(program for program in programs if program != "vitis-run")
    tool = _find_program(programs)
    if tool is None:
        raise _missing_program(programs, f"the synthesis of the {backend} project in {folder}")
    chosen = {"synth": True, "vsynth": logic_synthesis}
    options = {step: chosen.get(step, False) for step in _STEPS}
    if in_file:
        lines = [f"    {step:<10} {int(on)}" for step, on in options.items()]
        text = "\n".join(["array set opt {", *lines, "}", ""])
        (folder / "build_opt.tcl").write_text(text, encoding="utf-8")
    if Path(tool).stem == "vitis-run":
        return [tool, "--tcl", "build_prj.tcl", "--mode", "hls"]
    arguments = [] if in_file else [" ".join(f"{step}={on}" for step, on in options.items())]
    return [tool, "-f", "build_prj.tcl", *arguments]


def _run_command(command: list[str], folder: Path, timeout: float | None) -> str:
    """Run a command in a folder and return its output."""
    logger.debug("in %s: %s", folder, command)
    # Not a pipe: what a tool starts may outlive it and keep a pipe open.
    with tempfile.TemporaryFile() as output:
        status = _await_status(command, folder, timeout, output)
        output.seek(0)
        text = output.read().decode("utf-8", errors="replace")
    logger.debug("%s printed:\n%s", command[0], text)
    if status != 0:
        problem = (
            f"had not ended after {timeout:g} seconds and was stopped"
            if status is None
            else f"ended with status {status}"
        )
        raise FabricFitError(
            f"{command[0]} {problem}, in {folder}. Its output:\n{text[-_TAIL_CHARACTERS:]}"
        )
    return text


def _await_status(
    command: list[str], folder: Path, timeout: float | None, output: IO[bytes]
) -> int | None:
    """Return the exit status of a command; ``None`` where it exceeds the timeout and is stopped."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise FabricFitError(f"{command[0]} cannot be started: {error}") from error
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            _stop_process(process)


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process and, where the system can, all that it started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _list_written(folder: Path) -> dict[str, tuple[Path, int]]:
    """Return the reports of a project, and when they were written."""
    return {stage: (path, path.stat().st_mtime_ns) for stage, path in find_reports(folder).items()}
