"""Resource usage and timing that a tool reports of a design, and helpers that read its files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError, spell

__all__ = [
    "STAGES",
    "ModuleReport",
    "Range",
    "SynthesisReport",
    "find_range",
    "incomplete",
    "is_number",
    "is_signed",
    "number",
    "parse_xml",
    "read_range",
    "read_text",
    "without_share",
]

STAGES = ("hls", "cosim", "logic synthesis", "implementation", "timing")
"""Stages of a design at which a report is written, in their order."""

Range = tuple[int | None, int | None]

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_SIGNED = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_SHARE = re.compile(r"\s*\(.*\)$")
_RANGE = re.compile(r"([0-9]{1,15})(?:\s*~\s*([0-9]{1,15}))?")
_VERSION = re.compile(r"\s(v?\d{4}\.\d+(?:\.\d+)?)$")
_NOT_KNOWN = ("", "undef", "?", "-", "NA", "N/A", "x")


@dataclass(frozen=True)
class ModuleReport:
    """What a report says of one function, instance or loop of a design.

    Parameters
    ----------
    name
        Name of the function or instance, as the report spells it; of a loop, the function it is in and its
        own name, with a ``/`` between them.
    kind
        ``'module'`` or ``'loop'``.
    resources
        Resource -> number that one instance uses, with all it calls, for those that the report names.
    interval, latency
        As for :class:`SynthesisReport`; the interval of a loop is that of its iterations.
    clock_estimated
        Clock period that the tool expects, in ns; ``None`` where the report has none.
    """

    name: str
    kind: str = "module"
    resources: dict[str, float] = field(default_factory=dict)
    interval: Range = (None, None)
    latency: Range = (None, None)
    clock_estimated: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain numbers, strings, lists and dictionaries."""
        return {
            **vars(self),
            "resources": dict(self.resources),
            "interval": list(self.interval),
            "latency": list(self.latency),
        }


@dataclass(frozen=True)
class SynthesisReport:
    """Resource usage and timing of a design, as a tool reports them.

    Parameters
    ----------
    tool
        The tool and its version: ``'Vivado HLS 2020.1'``, ``'Vitis HLS 2023.2'``, ``'Vivado 2020.1'``;
        ``None`` where the report does not say, as that of a co-simulation.
    stage
        One of :data:`STAGES`.
    part
        Part number of the FPGA, as the report spells it; ``None`` where it does not say.
    resources
        Resource -> number used, for all of :data:`fabricfit.hardware.RESOURCES`. Block RAMs
        count in units of 18 kbit: a RAMB36 is two. UltraRAM is 0 where the report has no line for it, as
        for a device without it. Empty for a report of timing only.
    available
        Resource -> number that the device has, for those that the report names.
    interval
        Smallest and largest initiation interval, in cycles; ``None`` where the tool does not know it, or
        does not report any.
    latency
        Smallest and largest latency, in cycles; ``None`` as above.
    clock_target, clock_estimated
        Requested clock period, and the one that the tool expects or the netlist reaches, in ns; ``None``
        where the report has none.
    rows
        Functions, instances and loops, as far as the report lists them.
    top
        Name of the whole design; ``None`` where the report does not say.
    clock_uncertainty
        What HLS keeps free of the requested clock period, in ns.
    slack, total_negative_slack, hold_slack
        Worst slack of setup (WNS), sum of the negative ones (TNS), and worst slack of hold (WHS), in ns.
    status
        ``'Pass'``, ``'Fail'`` or ``'NA'`` of a co-simulation; ``'met'`` or ``'not met'`` of timing.
    """

    tool: str | None
    stage: str
    part: str | None
    resources: dict[str, float]
    available: dict[str, float] = field(default_factory=dict)
    interval: Range = (None, None)
    latency: Range = (None, None)
    clock_target: float | None = None
    clock_estimated: float | None = None
    rows: tuple[ModuleReport, ...] = ()
    top: str | None = None
    clock_uncertainty: float | None = None
    slack: float | None = None
    total_negative_slack: float | None = None
    hold_slack: float | None = None
    status: str | None = None

    @property
    def modules(self) -> dict[str, dict[str, float]]:
        """Function or instance -> resources that it uses; empty where the report lists none."""
        return {row.name: row.resources for row in self.rows if row.kind == "module"}

    @property
    def version(self) -> str | None:
        """Version of the tool; ``None`` where the report does not say."""
        found = _VERSION.search(self.tool or "")
        return found[1] if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, strings, lists and dictionaries."""
        return {
            **vars(self),
            "resources": dict(self.resources),
            "available": dict(self.available),
            "interval": list(self.interval),
            "latency": list(self.latency),
            "rows": [row.to_dict() for row in self.rows],
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


def parse_xml(path: Path, kind: str) -> ET.Element:
    """Return the root of an XML report; one that declares entities is refused, as no tool writes them.

    Parameters
    ----------
    path, kind
        As for :func:`read_text`.

    Raises
    ------
    InvalidInputError
        The file cannot be read, declares a document type, or is not well-formed.
    """
    text = read_text(path, kind)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise incomplete(path, kind, "it declares a document type, as no such report does")
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:  # an unknown encoding is a ValueError
        raise incomplete(path, kind, f"it is not well-formed XML ({error})") from error


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


def is_signed(text: str) -> bool:
    """Return whether a text is such a number, with a minus sign or without."""
    return _SIGNED.fullmatch(text) is not None


def without_share(text: str) -> str:
    """Return a cell without the share of the device that may follow its number."""
    return _SHARE.sub("", text)


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
        raise incomplete(path, kind, f"{name} must be a number. Received: {spell(text)}")
    return float(text)


def read_range(path: Path, kind: str, name: str, text: str) -> Range:
    """Return the ends of a number or of a range such as ``948 ~ 4728``; ``None`` where they are not known.

    Parameters
    ----------
    path, kind, name, text
        As for :func:`number`.

    Raises
    ------
    InvalidInputError
        It is neither, nor one of the signs for what a tool does not know (``undef``, ``?``, ``-``, ``NA``).
    """
    text = text.strip()
    if text in _NOT_KNOWN:
        return None, None
    found = _RANGE.fullmatch(text)
    if found is None:
        raise incomplete(path, kind, f"{name} must be a number. Received: {spell(text)}")
    return int(found[1]), int(found[2] or found[1])


def find_range(path: Path, kind: str, place: ET.Element, name: str) -> Range:
    """Return the ends of a range in an XML report, also where they have tags of their own.

    Parameters
    ----------
    path, kind
        As for :func:`number`.
    place
        The element that holds it.
    name
        Its tag.

    Raises
    ------
    InvalidInputError
        As for :func:`read_range`.
    """
    ends = [place.findtext(f"{name}/range/{end}") for end in ("min", "max")]
    if ends[0] is None or ends[1] is None:
        return read_range(path, kind, f"<{name}>", place.findtext(name) or "")
    low, high = (read_range(path, kind, f"<{name}>", text or "") for text in ends)
    return low[0], high[1]
