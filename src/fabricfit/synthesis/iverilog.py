"""Simulation of Verilog with the open tool Icarus Verilog: words in, words out."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fabricfit.errors import FabricFitError, MissingExtraError, TimeLimitError

__all__ = ["require_simulator", "simulate_verilog"]

_TAIL_CHARACTERS = 2000


def require_simulator() -> None:
    """Raise a :class:`MissingExtraError` where there is no Icarus Verilog."""
    if shutil.which("iverilog") is None or shutil.which("vvp") is None:
        raise MissingExtraError(
            "Simulating Verilog needs iverilog and vvp of Icarus Verilog, which are not on PATH. Install it "
            "(Debian and Ubuntu: apt install iverilog)."
        )


def simulate_verilog(
    code: str,
    top: str,
    words: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    *,
    parameters: Mapping[str, int] | None = None,
    seconds: float | None = None,
) -> dict[str, list[int | None]]:
    """Run a testbench that reads words from files and writes others.

    Parameters
    ----------
    code
        All modules, the testbench among them.
    top
        Name of the testbench.
    words
        Name -> words that it reads from ``<name>.hex``, a line each.
    outputs
        Names of the files of that form that it writes.
    parameters
        Parameter of the testbench -> value.
    seconds
        Time limit; none by default.

    Returns
    -------
    dict
        Name of an output -> its words; None for a word with bits that are not known.

    Raises
    ------
    MissingExtraError
        Icarus Verilog is not installed.
    TimeLimitError
        It took longer.
    FabricFitError
        The code cannot be compiled or run; the message ends with the tool's output.
    """
    require_simulator()
    with tempfile.TemporaryDirectory(prefix="fabricfit-") as folder:
        path = Path(folder)
        (path / "design.v").write_text(code, encoding="utf-8")
        for name, numbers in words.items():
            text = "".join(f"{number:x}\n" for number in numbers)
            (path / f"{name}.hex").write_text(text, encoding="ascii")
        given = [f"-P{top}.{name}={value}" for name, value in (parameters or {}).items()]
        command = ["iverilog", "-g2012", "-s", top, *given, "-o", "design.vvp", "design.v"]
        _run(command, path, seconds)
        _run(["vvp", "-n", "design.vvp"], path, seconds)
        return {name: _read_words(path / f"{name}.hex") for name in outputs}


def _run(command: Sequence[str], folder: Path, seconds: float | None) -> None:
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeLimitError(
            f"{command[0]} did not end within {seconds:g} s. Allow more time, or simulate fewer samples."
        ) from error
    if ended.returncode:
        output = (ended.stdout + ended.stderr)[-_TAIL_CHARACTERS:].strip()
        raise FabricFitError(
            f"{command[0]} stopped with status {ended.returncode}. Its output:\n{output}"
        )


def _read_words(path: Path) -> list[int | None]:
    lines = path.read_text(encoding="ascii").split() if path.exists() else []
    return [int(line, 16) if set(line) <= set("0123456789abcdef") else None for line in lines]
