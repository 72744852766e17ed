"""Reports of C synthesis: the XML files of Vivado HLS and Vitis HLS."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from fabricfit.synthesis._report import SynthesisReport, incomplete, is_number, number, read_text

__all__ = ["read_csynth_xml"]

_KIND = "csynth.xml of Vivado HLS or Vitis HLS"
_USED = "AreaEstimates/Resources"
_LATENCY = "PerformanceEstimates/SummaryOfOverallLatency"
_CLOCK = "PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod"

_TAGS = {
    "dsp": ("DSP", "DSP48E"),
    "bram18": ("BRAM_18K",),
    "uram": ("URAM",),
    "lut": ("LUT",),
    "ff": ("FF",),
}
_NOT_KNOWN = ("undef", "?", "-")


def read_csynth_xml(path: str | Path) -> SynthesisReport:
    """Read the XML report of the C synthesis of Vivado HLS or Vitis HLS.

    Parameters
    ----------
    path
        ``<function>_csynth.xml``, or ``csynth.xml``, in which Vitis HLS lists the functions too that
        were not inlined.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or lacks a part of it.
    """
    path = Path(path)
    profile = _parse_xml(path)
    version = _read_field(path, profile, "ReportVersion/Version")
    return SynthesisReport(
        tool=f"{_recognize_tool(profile)} {version}",
        stage="hls",
        part=_read_field(path, profile, "UserAssignments/Part"),
        resources=_read_used(path, profile),
        available=_read_resources(path, profile.find("AreaEstimates/AvailableResources")),
        interval=(
            _read_cycles(path, profile, "Interval-min"),
            _read_cycles(path, profile, "Interval-max"),
        ),
        latency=(
            _read_cycles(path, profile, "Best-caseLatency"),
            _read_cycles(path, profile, "Worst-caseLatency"),
        ),
        clock_target=_read_period(profile, "UserAssignments/TargetClockPeriod"),
        clock_estimated=_read_period(profile, _CLOCK),
        modules=_read_modules(path, profile),
    )


def _parse_xml(path: Path) -> ET.Element:
    text = read_text(path, _KIND)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise incomplete(path, _KIND, "it declares a document type, as no such report does")
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise incomplete(path, _KIND, f"it is not well-formed XML ({error})") from error


def _recognize_tool(profile: ET.Element) -> str:
    """Return which of the tools wrote a report: only Vitis HLS has target flows."""
    named_by_family = profile.find(f"{_USED}/DSP48E") is not None
    vivado = named_by_family and profile.find("UserAssignments/FlowTarget") is None
    return "Vivado HLS" if vivado else "Vitis HLS"


def _read_field(path: Path, profile: ET.Element, name: str) -> str:
    text = (profile.findtext(name) or "").strip()
    if not text:
        raise incomplete(path, _KIND, f"it has no <{name}>")
    return text


def _read_cycles(path: Path, profile: ET.Element, name: str) -> int | None:
    text = _read_field(path, profile, f"{_LATENCY}/{name}")
    return None if text in _NOT_KNOWN else int(number(path, _KIND, name, text))


def _read_period(profile: ET.Element, name: str) -> float | None:
    text = (profile.findtext(name) or "").strip()
    return float(text) if is_number(text) else None


def _read_used(path: Path, profile: ET.Element) -> dict[str, float]:
    found = {"uram": 0.0} | _read_resources(path, profile.find(_USED))
    for name in _TAGS:
        if name not in found:
            raise incomplete(path, _KIND, f"it has no <{_USED}/{_TAGS[name][0]}>")
    return {name: found[name] for name in _TAGS}


def _read_resources(path: Path, area: ET.Element | None) -> dict[str, float]:
    """Return the resources that a list of them names."""
    if area is None:
        return {}
    texts = {name: [area.findtext(tag) for tag in tags] for name, tags in _TAGS.items()}
    return {
        name: number(path, _KIND, f"<{_TAGS[name][0]}>", text.strip())
        for name, found in texts.items()
        for text in found
        if text is not None
    }


def _read_modules(path: Path, profile: ET.Element) -> dict[str, dict[str, float]]:
    top = profile.findtext("UserAssignments/TopModelName")
    areas = {
        module.findtext("Name", ""): module.find(_USED)
        for module in profile.iterfind("ModuleInformation/Module")
    }
    return {
        name: _read_resources(path, area) for name, area in areas.items() if name not in ("", top)
    }
