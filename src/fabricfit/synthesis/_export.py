"""Reports of the netlist that HLS has Vivado make when it exports a design (``export_design -flow``)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path

from fabricfit.synthesis._report import (
    ModuleReport,
    SynthesisReport,
    incomplete,
    is_number,
    is_signed,
    number,
    parse_xml,
    read_text,
)

__all__ = ["read_export"]

_KIND = "export report of Vivado HLS or Vitis HLS"
_TAGS = {"dsp": "DSP", "bram18": "BRAM", "uram": "URAM", "lut": "LUT", "ff": "FF"}
_FIELD = re.compile(r"^([A-Za-z][\w -]*?):[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_STAGE = re.compile(r"^#=== Post-(Synthesis|Implementation) Resource usage ===", re.MULTILINE)
_VERDICTS = {"Timing met": "met", "Timing not met": "not met", "No Sequential Path": None}


def read_export(path: str | Path) -> SynthesisReport:
    """Read the report of an exported design, after logic synthesis or after implementation.

    Parameters
    ----------
    path
        ``export_syn.xml``, ``export_impl.xml`` or ``<function>_export.xml``; or ``<function>_export.rpt``,
        which has no slacks and no modules.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not such a report, or lacks a part of it.
    """
    path = Path(path)
    return _read_xml(path) if path.suffix.lower() == ".xml" else _read_text_report(path)


def _read_xml(path: Path) -> SynthesisReport:
    profile = parse_xml(path, _KIND)
    area = profile.find("AreaReport/Resources")
    if area is None:
        raise incomplete(path, _KIND, "it has no <AreaReport/Resources>")
    timing = {found.tag: (found.text or "").strip() for found in profile.iterfind("TimingReport/*")}
    version = (profile.findtext("RunData/VIVADO_VERSION") or "").strip().lstrip("v.")
    run = profile.findtext("RunData/RUN_TYPE") or (
        "impl" if is_number(timing.get("CP_ROUTE", "")) else ""
    )
    items = {item.get("NAME"): item.get("VALUE") for item in profile.iterfind("GeneralInfo/item")}
    met = {"TRUE": "met", "FALSE": "not met"}.get(timing.get("TIMING_MET", ""))
    return SynthesisReport(
        tool=f"Vivado {version}" if version else None,
        stage="implementation" if run.startswith("impl") else "logic synthesis",
        part=items.get("Target device"),
        resources=_read_used(path, {found.tag: found.text or "" for found in area}),
        available={
            name: float(text)
            for name, tag in _TAGS.items()
            if is_number(text := profile.findtext(f"AreaReport/AvailableResources/{tag}") or "")
        },
        clock_target=_read_signed(timing.get("TargetClockPeriod")),
        clock_estimated=_read_signed(timing.get("AchievedClockPeriod")),
        rows=tuple(_iterate_modules(path, profile)),
        slack=_read_signed(timing.get("WNS_FINAL") or timing.get("SLACK_FINAL")),
        total_negative_slack=_read_signed(timing.get("TNS_FINAL")),
        status=met,
    )


def _iterate_modules(path: Path, profile: ET.Element) -> Iterator[ModuleReport]:
    """Yield the modules that HLS made of functions; a resource that is not named is not used."""
    for module in profile.iterfind("RtlModules/RtlModule"):
        used, name = module.find("Resources"), module.get("MODULENAME")
        if used is None or not name or module.get("IS_TOP") or module.get("BINDMODULE"):
            continue
        yield ModuleReport(
            name,
            resources={
                resource: number(path, _KIND, tag, used.get(tag, "0"))
                for resource, tag in _TAGS.items()
            },
        )


def _read_text_report(path: Path) -> SynthesisReport:
    text = read_text(path, _KIND)
    stage = _STAGE.search(text)
    if stage is None:
        raise incomplete(path, _KIND, "it has no line '#=== Post-... Resource usage ==='")
    last = text.rstrip().rpartition("\n")[2].strip()
    if last not in _VERDICTS:
        raise incomplete(path, _KIND, "it ends without a line 'Timing met' or 'Timing not met'")
    fields = dict(_FIELD.findall(text))
    achieved = f"CP achieved post-{stage[1].lower()}"
    tool = fields.get("Implementation tool", "").removeprefix("Xilinx ").replace(" v.", " ")
    return SynthesisReport(
        tool=tool or None,
        stage="implementation" if stage[1] == "Implementation" else "logic synthesis",
        part=fields.get("Device target"),
        resources=_read_used(path, fields),
        clock_target=_read_signed(fields.get("CP required")),
        clock_estimated=_read_signed(fields.get(achieved)),
        status=_VERDICTS[last],
    )


def _read_used(path: Path, texts: Mapping[str, str]) -> dict[str, float]:
    found = {"uram": 0.0}
    for name, tag in _TAGS.items():
        if tag in texts:
            found[name] = number(path, _KIND, tag, texts[tag].strip())
        elif name not in found:
            raise incomplete(path, _KIND, f"it has no number of {tag}")
    return {name: found[name] for name in _TAGS}


def _read_signed(text: str | None) -> float | None:
    return float(text) if text is not None and is_signed(text) else None
