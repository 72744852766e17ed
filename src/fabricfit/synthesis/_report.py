"""What a tool reports of a design, and how the files that say so are opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError

__all__ = ["STAGES", "SynthesisReport", "incomplete", "is_number", "number", "read_text"]

STAGES = ("hls", "logic synthesis", "implementation")
"""How far a design was taken when its report was written."""

Range = tuple[int | None, int | None]

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass(frozen=True)
class SynthesisReport:
    """What a tool says that a design takes.

    Parameters
    ----------
    tool
        The tool and its version: ``'Vivado HLS 2020.1'``, ``'Vitis HLS 2023.2'``, ``'Vivado 2020.1'``.
    stage
        One of :data:`STAGES`.
    part
        The FPGA, as this report spells it.
    resources
        Resource -> how many are used, for all of :data:`fabricfit.hardware.estimates.RESOURCES`. Block
        RAMs count in units of 18 kbit: a RAMB36 is two. UltraRAM is 0 where the report has no line for
        it, which it leaves out for a device without it.
    available
        Resource -> how many the device has, for those that the report names.
    interval
        Cycles between two samples, at least and at most; ``None`` where the tool does not know, or does
        not report any.
    latency
        Cycles from input to output, at least and at most; ``None`` as above.
    clock_target, clock_estimated
        Clock period that was asked for, and that the tool expects, in ns; ``None`` where the report has
        none.
    modules
        Function -> what one instance takes, with all it calls; empty where the report has none.
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
        What the file should be, for the error's message.

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
    """Build the error for a file that is not what it should be.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be.
    problem
        What it lacks.
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
        The file, and what it should be.
    name
        Whose number it is.
    text
        What the report says.

    Raises
    ------
    InvalidInputError
        It is not a number.
    """
    if not is_number(text):
        raise incomplete(path, kind, f"{name} must be a number. Received: {text!r}")
    return float(text)
