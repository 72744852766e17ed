"""The machine of the measurements."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["busy_seconds", "describe"]

_PACKAGES = (
    "fabricfit",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "torch",
    "keras-tuner",
    "ortools",
    "scipy",
    "numpy",
)


def describe() -> dict[str, str]:
    """Return the machine and the versions of what is measured, by name."""
    found = {
        "CPU": _read_cpu(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0),
        "memory": _read_memory(),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
    }
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def busy_seconds() -> float:
    """Return the CPU seconds that all processes have used so far, 0 if the system does not report it."""
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    except OSError:
        return 0.0
    idle = (3, 4)
    ticks = sum(int(ticks) for i, ticks in enumerate(fields) if i not in idle)
    return ticks / os.sysconf("SC_CLK_TCK")


def _read_cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _read_memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"
    except (OSError, ValueError):
        return "unknown"
