"""Resource usage that a tool reports of a design, and helpers that read its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError

__all__ = ["STAGES", "SynthesisReport", "incomplete", "is_number", "number", "read_text"]

STAGES = ("hls", "logic synthesis", "implementation")
"""Stages of a design at which a report is written."""

Range = tuple[int | None, int | None]

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass(frozen=True)
class SynthesisReport:
    """Resource usage and timing of a design, as a tool reports them.

    Parameters
    ----------
    tool
        The tool and its version: ``'Vivado HLS 2020.1'``, ``'Vitis HLS 2023.2'``, ``'Vivado 2020.1'``.
    stage
        One of :data:`STAGES`.
    part
        Part number of the FPGA, as the report spells it.
    resources
        Resource -> number used, for all of :data:`fabricfit.hardware.RESOURCES`. Block RAMs
        count in units of 18 kbit: a RAMB36 is two. UltraRAM is 0 where the report has no line for it, as
        for a device without it.
    available
        Resource -> number that the device has, for those that the report names.
    interval
        Smallest and largest initiation interval, in cycles; ``None`` where the tool does not know it, or
        does not report any.
    latency
        Smallest and largest latency, in cycles; ``None`` as above.
    clock_target, clock_estimated
        Requested clock period, and the one that the tool expects, in ns; ``None`` where the report has
        none.
    modules
        Function -> resources that one instance uses, with all it calls; empty where the report has none.
    """

    tool: str
    stage: str
    part: str
    resources: dict[str, float]
    available: dict[str, float] = field(default_factory=dict)
    interval: Range = (None, None)
    latency: Range = (None, None)
    clock_target: float | None = None
    clock_estimated: float | None = None
    modules: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, strings, lists and dictionaries."""
        return {
            **vars(self),
            "resources": dict(self.resources),
            "available": dict(self.available),
            "interval": list(self.interval),
            "latency": list(self.latency),
            "modules": {name: dict(used) for name, used in self.modules.items()},
        }


def read_text(path: Path, kind: str) -> str:
    """Return the text of a report.

    Parameters
    ----------
    path
        The file.
    kind
        Kind of file that is expected, for the message of the error.

    Raises
    ------
    InvalidInputError
        The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:  # a null character in a path is a ValueError
        raise InvalidInputError(
            f"{path} cannot be read: {error}. It must be a {kind}; pass the file that the tool wrote."
        ) from error


def incomplete(path: Path, kind: str, problem: str) -> InvalidInputError:
    """Build the error for a file that is not the expected report.

    Parameters
    ----------
    path
        The file.
    kind
        Kind of file that is expected.
    problem
        The part that is missing or wrong.
    """
    return InvalidInputError(
        f"{path} is not a complete {kind}: {problem}. Synthesize again, or pass the file that the tool "
        "wrote."
    )


def is_number(text: str) -> bool:
    """Return whether a text is a number as reports write them, without sign, exponent or unit."""
    return _NUMBER.fullmatch(text) is not None


def number(path: Path, kind: str, name: str, text: str) -> float:
    """Return a number of a report.

    Parameters
    ----------
    path, kind
        The file, and the kind of file that is expected.
    name
        Name of the number in the report.
    text
        Its text in the report.

    Raises
    ------
    InvalidInputError
        It is not a number.
    """
    if not is_number(text):
        raise incomplete(path, kind, f"{name} must be a number. Received: {text!r}")
    return float(text)
