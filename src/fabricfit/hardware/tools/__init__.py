"""Laws by tool: what each version of an HLS compiler makes of the same code, one file each.

The form of the laws is the same for all (:mod:`fabricfit.hardware`); a tool's record holds its numbers: how
long an adder takes, which products it binds to DSPs, how its reports scatter, and what the reports were of.
"""

from __future__ import annotations

import re
from functools import lru_cache

from fabricfit.checks import text
from fabricfit.errors import InvalidInputError, spell
from fabricfit.hardware.tools.record import Band, Measured, ToolLaws
from fabricfit.hardware.tools.vitis_2021_1 import VITIS_2021_1
from fabricfit.hardware.tools.vitis_2024_1 import VITIS_2024_1
from fabricfit.hardware.tools.vivado_2019_2 import VIVADO_2019_2
from fabricfit.hardware.tools.vivado_2020_1 import VIVADO_2020_1

__all__ = ["DEFAULT_TOOL", "Band", "Measured", "ToolLaws", "find_tool", "tools"]

DEFAULT_TOOL = VIVADO_2020_1.name
"""The tool that is assumed where none is stated: the one that most reports are from."""

_VITIS = {(2020, 2): VITIS_2021_1, (2022, 2): VITIS_2024_1}
_VIVADO = {(2017, 1): VIVADO_2019_2, (2020, 1): VIVADO_2020_1}
"""First version -> the laws from there on. Vivado HLS ended with 2020.1, where Vitis HLS began."""

_NEWEST = {"vivado": VIVADO_2020_1, "vivadoaccelerator": VIVADO_2020_1, "vitis": VITIS_2024_1,
           "vitisunified": VITIS_2024_1, "vitisaccelerator": VITIS_2024_1}  # fmt: skip
"""Programs, and hls4ml's backends for them -> the laws of the newest version."""


def tools() -> tuple[str, ...]:
    """Return the names of the tools that there are laws of."""
    return tuple(laws.name for laws in (*_VIVADO.values(), *_VITIS.values()))


def find_tool(name: str | ToolLaws) -> ToolLaws:
    """Return the laws of a tool: of the stated version, or of the newest known one that is not newer.

    Parameters
    ----------
    name
        ``'Vitis HLS 2021.1'``, ``'vitis'``, ``'vivado 2019.2'``, ``'2023.2'``, or hls4ml's name of a backend
        for one of them.

    Raises
    ------
    InvalidInputError
        There are no laws of such a tool.
    """
    return name if isinstance(name, ToolLaws) else _find_by_name(text("tool", name, empty=True))


@lru_cache(maxsize=64)
def _find_by_name(name: str) -> ToolLaws:
    wanted = name.lower()
    version = re.search(r"(20\d\d)\.(\d)", wanted)
    program = re.sub(r"[^a-z]", "", wanted).removesuffix("hls")
    if version and program in ("", *_NEWEST):
        asked = (int(version[1]), int(version[2]))
        since = _VITIS if asked >= min(_VITIS) and not program.startswith("vivado") else _VIVADO
        return since[max((first for first in since if first <= asked), default=min(since))]
    if program in _NEWEST and not version:
        return _NEWEST[program]
    raise InvalidInputError(
        f"tool must be one of {', '.join(tools())}, or another version of these. Received: {spell(name)}"
    )
