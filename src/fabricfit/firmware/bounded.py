"""Programs that are run within a time and a memory limit, told of beforehand."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fabricfit.checks import optional_positive_number
from fabricfit.errors import FabricFitError

__all__ = ["LimitExceededError", "Limits", "run_bounded"]

_KIB_OF_GIB = 2**20
_OUT_OF_MEMORY = ("memory exhausted", "out of memory", "bad_alloc", "Cannot allocate memory")


class LimitExceededError(FabricFitError, TimeoutError):
    """A program needed more time or memory than it was allowed."""


@dataclass(frozen=True)
class Limits:
    """What programs may need together.

    Parameters
    ----------
    seconds
        Wall-clock time from now on; None for no limit.
    memory_gib
        Memory of each program in GiB; None for no limit.

    Raises
    ------
    InvalidInputError
        A limit is not above 0.
    """

    seconds: float | None = None
    memory_gib: float | None = None
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        optional_positive_number("time_limit", self.seconds)
        optional_positive_number("memory_limit", self.memory_gib)

    @property
    def seconds_left(self) -> float | None:
        """What is left of the time; None without a limit."""
        return None if self.seconds is None else self.begun + self.seconds - time.monotonic()

    def __str__(self) -> str:
        time_left = self.seconds_left
        parts = [] if time_left is None else [f"{max(time_left, 0):,.0f} s"]
        parts += [] if self.memory_gib is None else [f"{self.memory_gib:g} GiB of memory"]
        return f"at most {' and '.join(parts)}" if parts else "without a limit"


def run_bounded(
    command: Sequence[str],
    limits: Limits,
    what: str,
    *,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """Run a program with all that it starts; return its status and what it printed.

    Parameters
    ----------
    command
        The program and its arguments.
    limits
        What it may need.
    what
        What it does, for an error: "compiling the generated code".
    cwd
        Where it runs.
    on_line
        Called with every line that it prints, as it comes.

    Raises
    ------
    LimitExceededError
        It was stopped at a limit.
    """
    bounds = []
    if limits.memory_gib is not None:
        bounds.append(f"ulimit -v {int(limits.memory_gib * _KIB_OF_GIB)} 2>/dev/null;")
    if limits.seconds is not None:  # for what is left alone where this process is killed
        bounds.append(f"ulimit -t {math.ceil(limits.seconds)} 2>/dev/null;")
    if bounds:
        command = ["sh", "-c", f'{" ".join(bounds)} exec "$@"', "sh", *command]
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    printed: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if on_line is not None:
                on_line(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        status = process.wait(limits.seconds_left)
    except subprocess.TimeoutExpired:
        _stop(process)
        raise LimitExceededError(
            f"{what} took more than the {limits.seconds:g} s that it may take (time_limit)"
        ) from None
    except BaseException:
        _stop(process)
        raise
    reader.join()
    text = "".join(printed)
    if status and limits.memory_gib is not None and any(each in text for each in _OUT_OF_MEMORY):
        raise LimitExceededError(
            f"{what} took more than the {limits.memory_gib:g} GiB of memory that it may take "
            "(memory_limit)"
        )
    return status, text


def _stop(process: subprocess.Popen[str]) -> None:
    """Stop a program and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
