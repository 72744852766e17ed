"""Reports of C synthesis: the XML files of Vivado HLS and Vitis HLS."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from fabricfit.synthesis._report import (
    ModuleReport,
    SynthesisReport,
    find_range,
    incomplete,
    is_number,
    number,
    parse_xml,
    read_range,
)

__all__ = ["TAGS", "read_csynth_xml"]

_KIND = "csynth.xml of Vivado HLS or Vitis HLS"
_USED = "AreaEstimates/Resources"
_PERFORMANCE = "PerformanceEstimates"
_LATENCY = f"{_PERFORMANCE}/SummaryOfOverallLatency"
_CLOCK = f"{_PERFORMANCE}/SummaryOfTimingAnalysis/EstimatedClockPeriod"

TAGS = {
    "dsp": ("DSP", "DSP48E"),
    "bram18": ("BRAM_18K",),
    "uram": ("URAM",),
    "lut": ("LUT",),
    "ff": ("FF",),
}
"""Resource -> what HLS calls it; DSPs were ``DSP48E`` up to 2020.1."""


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
    profile = parse_xml(path, _KIND)
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
        rows=tuple(_iterate_rows(path, profile)),
        top=profile.findtext("UserAssignments/TopModelName"),
        clock_uncertainty=_read_period(profile, "UserAssignments/ClockUncertainty"),
    )


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
    return read_range(path, _KIND, name, text)[0]


def _read_period(profile: ET.Element, name: str) -> float | None:
    text = (profile.findtext(name) or "").strip()
    return float(text) if is_number(text) else None


def _read_used(path: Path, profile: ET.Element) -> dict[str, float]:
    found = {"uram": 0.0} | _read_resources(path, profile.find(_USED))
    for name in TAGS:
        if name not in found:
            raise incomplete(path, _KIND, f"it has no <{_USED}/{TAGS[name][0]}>")
    return {name: found[name] for name in TAGS}


def _read_resources(path: Path, area: ET.Element | None) -> dict[str, float]:
    """Return the resources that a list of them names."""
    if area is None:
        return {}
    texts = {name: [area.findtext(tag) for tag in tags] for name, tags in TAGS.items()}
    return {
        name: number(path, _KIND, f"<{TAGS[name][0]}>", text.strip())
        for name, found in texts.items()
        for text in found
        if text is not None
    }


def _iterate_rows(path: Path, profile: ET.Element) -> Iterator[ModuleReport]:
    """Yield the loops of the function that the report is of, then other functions and their loops."""
    top = profile.findtext("UserAssignments/TopModelName") or ""
    yield from _iterate_loops(path, profile, top)
    for module in profile.iterfind("ModuleInformation/Module"):
        name = module.findtext("Name", "")
        if name in ("", top):
            continue
        latency = ET.Element("none") if (found := module.find(_LATENCY)) is None else found
        yield ModuleReport(
            name,
            resources=_read_resources(path, module.find(_USED)),
            interval=find_range(path, _KIND, latency, "PipelineInitiationInterval"),
            latency=(
                find_range(path, _KIND, latency, "Best-caseLatency")[0],
                find_range(path, _KIND, latency, "Worst-caseLatency")[1],
            ),
            clock_estimated=_read_period(module, _CLOCK),
        )
        yield from _iterate_loops(path, module, name)


def _iterate_loops(path: Path, place: ET.Element, function: str) -> Iterator[ModuleReport]:
    """Yield the loops of a function, inner ones too: each is an element that is called as the loop."""
    summary = place.find(f"{_PERFORMANCE}/SummaryOfLoopLatency")
    for loop in () if summary is None else summary.iter():
        if loop.find("TripCount") is not None and loop.find("Latency") is not None:
            yield ModuleReport(
                f"{function}/{(loop.findtext('Name') or loop.tag).strip()}",
                kind="loop",
                interval=find_range(path, _KIND, loop, "PipelineII"),
                latency=find_range(path, _KIND, loop, "Latency"),
            )
