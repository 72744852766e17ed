"""hls4ml's backends: what fabricfit can verify and estimate of each, and what a project's configuration says.

A whole project's configuration names its backend (``'Backend'``), its part (``'Part'``) and, for an
accelerator, its board (``'AcceleratorConfig'``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.checks import one_of, text
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell, unknown_name
from fabricfit.hardware.devices import normalize_name

__all__ = [
    "BACKENDS",
    "BOARDS",
    "DEFAULT_BACKEND",
    "Backend",
    "Board",
    "find_backend",
    "list_backend_notes",
    "read_backend",
    "read_board",
    "read_part",
    "require_emulated",
]

DEFAULT_BACKEND = "Vitis"

_ACCELERATOR = "VivadoAccelerator"


@dataclass(frozen=True)
class Backend:
    """What is known of one of hls4ml's backends.

    Parameters
    ----------
    name
        Its name, as hls4ml spells it.
    compiler
        What compiles its code to hardware.
    default_part
        The part that hls4ml takes where none is stated.
    not_emulated
        Why results of its code cannot be verified bit for bit; none where they can.
    note
        What its estimate rests on, where that is not measurements of its compiler.
    stops_at
        Strategies at which hls4ml stops with this backend, though its templates have them.
    """

    name: str
    compiler: str
    default_part: str | None
    not_emulated: str = ""
    note: str = ""
    stops_at: tuple[str, ...] = ()


@dataclass(frozen=True)
class Board:
    """A board that hls4ml's VivadoAccelerator knows.

    Parameters
    ----------
    name
        Its name, as hls4ml spells it.
    part
        The part that is on it; hls4ml replaces any other.
    """

    name: str
    part: str


_AC_TYPES = (
    "its code computes with the number types ac_fixed and ac_int, and tables of its own, which fabricfit "
    "does not emulate"
)
_INTEL = (
    "Nothing that {} builds was measured: DSPs and memories follow Intel's handbooks, and LUTs (ALUTs) and "
    "flip-flops the laws of AMD's compilers."
)

BACKENDS = {
    each.name: each
    for each in (
        Backend("Vitis", "Vitis HLS", "xcvu13p-flga2577-2-e"),
        Backend("Vivado", "Vivado HLS", "xcvu13p-flga2577-2-e"),
        Backend(
            _ACCELERATOR,
            "Vivado HLS",
            "xc7z020clg400-1",
            note="The numbers are of the network: the AXI wrapper that converts its inputs and outputs, the "
            "DMA and the interconnect of the board's design are not in them.",
            stops_at=("resource_unrolled", "distributed_arithmetic"),
        ),
        Backend(
            "Quartus",
            "Intel's HLS compiler",
            "Arria10",
            _AC_TYPES,
            _INTEL.format("Intel's HLS compiler"),
        ),
        Backend("oneAPI", "Intel's oneAPI compiler", "Agilex7", _AC_TYPES, _INTEL.format("oneAPI")),
        Backend(
            "Catapult",
            "Catapult HLS",
            "xcku115-flvb2104-2-i",
            _AC_TYPES,
            "Nothing that Catapult builds was measured: all numbers follow the laws of AMD's compilers.",
        ),
        Backend(
            "Libero",
            "SmartHLS",
            "MPF300",
            "its code computes with SmartHLS' number types, which fabricfit does not emulate",
            "Nothing that SmartHLS builds was measured: all numbers follow the laws of AMD's compilers, "
            "while a PolarFire has LUTs of four inputs, and multipliers and memories of other sizes.",
        ),
        Backend(
            "SymbolicExpression",
            "Vitis HLS",
            "xcvu13p-flga2577-2-e",
            "it builds formulas, not Keras models",
            "SymbolicExpression builds formulas, not Keras models: the numbers are of the model in Vitis.",
        ),
    )
}
"""The backends of hls4ml 1.3, by name."""

BOARDS = {
    name: Board(name, part)
    for name, part in (
        ("pynq-z2", "xc7z020clg400-1"),
        ("zcu102", "xczu9eg-ffvb1156-2-e"),
        ("alveo-u50", "xcu50-fsvh2104-2-e"),
        ("alveo-u250", "xcu250-figd2104-2L-e"),
        ("alveo-u200", "xcu200-fsgd2104-2-e"),
        ("alveo-u280", "xcu280-fsvh2892-2L-e"),
    )
}
"""The boards of hls4ml's VivadoAccelerator, the default first."""


def find_backend(name: Any) -> Backend:
    """Return a backend by its name, in any case.

    Raises
    ------
    InvalidInputError
        hls4ml has no such backend.
    """
    known = {each.lower(): backend for each, backend in BACKENDS.items()}
    found = known.get(name.lower()) if isinstance(name, str) else None
    if found is None:
        raise unknown_name("backend", name, BACKENDS)
    return found


def require_emulated(name: Any) -> Backend:
    """Return a backend whose results can be verified bit for bit.

    Raises
    ------
    InvalidInputError
        hls4ml has no such backend, or it computes with numbers that are not emulated.
    """
    backend = find_backend(name)
    if backend.not_emulated:
        known = ", ".join(repr(each.name) for each in BACKENDS.values() if not each.not_emulated)
        raise InvalidInputError(
            f"backend must be one of {known}, whose results can be verified bit for bit. Received: "
            f"backend={backend.name!r}: {backend.not_emulated}. backend={DEFAULT_BACKEND!r} verifies what "
            "the same configuration computes with AMD's number types."
        )
    return backend


def read_backend(config: Mapping[str, Any]) -> Backend:
    """Return the backend that a project's configuration names; hls4ml's Vitis where it names none.

    Raises
    ------
    InvalidInputError
        hls4ml has no such backend.
    """
    stated = config.get("Backend")
    return find_backend(DEFAULT_BACKEND if stated is None else stated)


def read_board(config: Mapping[str, Any], part: str | None = None) -> Board:
    """Return the board that an accelerator is built for, which decides its part.

    Parameters
    ----------
    config
        A project's configuration, whose ``config['AcceleratorConfig']['Board']`` counts.
    part
        A part that is asked for; without a board in the configuration it names the board that it is on.

    Raises
    ------
    InvalidTypeError
        ``config['AcceleratorConfig']`` is no dictionary.
    InvalidInputError
        hls4ml knows no such board, no board with this part, or the board has another part.
    """
    accelerator = config.get("AcceleratorConfig")
    accelerator = {} if accelerator is None else accelerator
    if not isinstance(accelerator, Mapping):
        raise InvalidTypeError(
            "config['AcceleratorConfig'] must be a dictionary with 'Board', 'Interface', 'Driver' and "
            f"'Precision'. Received: {spell(accelerator)}"
        )
    name = accelerator.get("Board")
    if name is not None:
        one_of("config['AcceleratorConfig']['Board']", name, BOARDS)
    candidates = list(BOARDS.values()) if name is None else [BOARDS[name]]
    if part is None:
        return candidates[0]
    found = [board for board in candidates if normalize_name(board.part) == normalize_name(part)]
    if not found:
        parts = ", ".join(f"{board.part!r} ({board.name})" for board in candidates)
        raise InvalidInputError(
            f"part must be that of the board: hls4ml's {_ACCELERATOR} builds for {parts}. "
            f"Received: part={spell(part)}. Use the backend Vivado for other parts."
        )
    return found[0]


def read_part(config: Mapping[str, Any]) -> str | None:
    """Return the part that a project's configuration is built for; ``None`` where it states none.

    Of an accelerator the board counts, whatever ``'Part'`` says, as hls4ml has it.
    """
    if read_backend(config).name == _ACCELERATOR:
        return read_board(config).part
    part = config.get("Part")
    return None if part is None else text("config['Part']", part)


def list_backend_notes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is to be said of an estimate with the backend that a project's configuration names.

    Raises
    ------
    InvalidInputError
        hls4ml has no such backend or board, or the design is for no FPGA.
    """
    backend = read_backend(config)
    technology = config.get("Technology")
    if backend.name == "Catapult" and str(technology or "fpga").lower() != "fpga":
        raise InvalidInputError(
            "an estimate is of an FPGA's resources, of which an ASIC has none. Received: "
            f"config['Technology']={technology!r}. Use 'fpga', or leave 'Technology' out."
        )
    if backend.name == _ACCELERATOR:
        read_board(config)
    return (f"{backend.name}: {backend.note}",) if backend.note else ()
