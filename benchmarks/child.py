"""The process of one measurement: ``python -m benchmarks.child REQUEST RESULT``."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.machine import busy_seconds
from benchmarks.task import NoNumberError, Task

__all__ = ["main"]

_MEGABYTE = 1e6


def main() -> None:
    """Run the task of the request file and write the measurement to the result file."""
    request, result = (Path(argument) for argument in sys.argv[1:3])
    try:
        answer = _measure(json.loads(request.read_text()))
    except BaseException as error:
        traceback.print_exc()
        answer = {"error": _shorten_error(error)}
    result.write_text(json.dumps(answer))


def _measure(request: dict[str, Any]) -> dict[str, Any]:
    module, _, name = request["function"].partition(":")
    task: Task = getattr(importlib.import_module(module), name)(**request["arguments"])
    before = _release_memory()
    Path(request["started"]).touch()
    machine, children = busy_seconds(), _read_children_cpu()
    cpu, wall = time.process_time(), time.perf_counter()
    outcome = task.work()
    wall = time.perf_counter() - wall
    total = time.process_time()
    used = total - cpu + _read_children_cpu() - children
    others = max(busy_seconds() - machine - used, 0.0)
    peak = _read_peak()
    return {
        "wall": wall,
        "cpu": used,
        "total_cpu": total + _read_children_cpu(),
        "peak_mb": peak,
        "growth_mb": max(peak - before, 0.0),
        "others": others / wall,
        "figures": task.inspect(outcome),
    }


def _shorten_error(error: BaseException) -> str:
    """Return the kind of an error, and of a long message the last line, which names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, NoNumberError):
        return str(error)
    kind = type(error).__name__
    return f"{kind}: {lines[-1]}" if lines else kind


def _read_children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read_peak() -> float:
    """Return the largest resident set so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEGABYTE


def _release_memory() -> float:
    """Release unused memory, reset the peak where the system can; return the peak in MB."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return _read_peak()


if __name__ == "__main__":
    main()
