"""A whole network written as Verilog, into a folder of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from fabricfit.checks import file_path, optional_whole_number
from fabricfit.errors import InvalidInputError, RunDirectoryError, spell
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.firmware.rtl.circuit import trace_circuit
from fabricfit.firmware.rtl.verilog import write_module, write_testbench
from fabricfit.firmware.rtl_result import RtlDesign
from fabricfit.hls4ml.backends import read_backend, require_emulated
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.network.configuration import open_configuration
from fabricfit.network.finite import open_network
from fabricfit.run.files import RunDirectory

__all__ = ["REGISTER_EVERY", "make_design", "to_rtl"]

REGISTER_EVERY = 5
"""Additions in a row between registers: about 5 ns in a device of the UltraScale+ family."""

_DESCRIPTION = "rtl.json"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign
default defparam design disable edge else end endcase endconfig endfunction endgenerate endmodule
endprimitive endspecify endtable endtask event for force forever fork function generate genvar
highz0 highz1 if ifnone incdir include initial inout input instance integer join large liblist
library localparam macromodule medium module nand negedge nmos nor noshowcancelled not notif0 notif1
or output parameter pmos posedge primitive pull0 pull1 pulldown pullup pulsestyle_ondetect
pulsestyle_onevent rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1
scalared showcancelled signed small specify specparam strong0 strong1 supply0 supply1 table task
time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg unsigned use uwire vectored wait wand
weak0 weak1 while wire wor xnor xor
"""
_LONGEST_NAME = 200
"""Letters of a module's name, of which the names of files are made."""

_KEYWORDS = frozenset(_WORDS.split())
"""Words that Verilog keeps for itself (IEEE 1364-2005, annex B)."""


def to_rtl(
    model: Any,
    hls_config: ConfigurationLike,
    folder: str | os.PathLike[str],
    *,
    name: str = "network",
    register_every: int | None = REGISTER_EVERY,
    backend: str | None = None,
) -> RtlDesign:
    """Write a whole network as synthesizable Verilog, bit for bit what hls4ml builds.

    Every position of every layer has logic of its own, all weights are constants, and the module takes a
    sample every cycle. Softmax layers at the outputs are left out, as the largest input is the largest
    output. Progress is told by the library's logger.

    Parameters
    ----------
    model
        A Keras model.
    hls_config
        hls4ml's configuration, or a file of it: it states the number formats.
    folder
        Folder to write to; made where there is none. One that holds anything else is refused.
    name
        Name of the module, of its file and of that of its testbench.
    register_every
        Additions in a row after which there are registers; None for registers at the ends only.
    backend
        hls4ml's backend, whose arithmetic is followed; by default the configuration's.

    Raises
    ------
    InvalidInputError
        A layer cannot be written as a circuit of constants, or an option is invalid; nothing is written.
    RunDirectoryError
        The folder holds something else, or cannot be made.
    MissingExtraError
        ``alkaid`` or hls4ml is not installed.
    """
    path = file_path("folder", folder)
    _check_name(name)
    optional_whole_number("register_every", register_every)
    _check_folder(path)
    network = open_network(model)
    config = open_configuration(hls_config, network)
    followed = require_emulated(read_backend(config).name if backend is None else backend).name
    quantized = QuantizedNetwork(network, config, followed)
    return write_design(make_design(quantized, name, register_every), path)


def make_design(
    network: QuantizedNetwork, name: str = "network", register_every: int | None = REGISTER_EVERY
) -> RtlDesign:
    """Return a network as Verilog, written nowhere.

    Parameters
    ----------
    network
        The network as hls4ml builds it.
    name, register_every
        As for :func:`to_rtl`.

    Raises
    ------
    InvalidInputError
        A layer cannot be written as a circuit of constants, or an option is invalid.
    MissingExtraError
        ``alkaid`` is not installed.
    """
    _check_name(name)
    optional_whole_number("register_every", register_every)
    circuit = trace_circuit(network)
    module = write_module(circuit, name, register_every)
    return RtlDesign(
        name,
        module.text,
        write_testbench(circuit, module),
        circuit.inputs,
        circuit.outputs,
        module.latency,
        circuit.cost,
        round(circuit.lut),
        module.flip_flops,
        circuit.ends_before,
    )


def write_design(design: RtlDesign, path: Path) -> RtlDesign:
    """Write a design's files; return it with its folder.

    Raises
    ------
    RunDirectoryError
        The folder holds something else, or cannot be made.
    """
    _check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder = RunDirectory.existing(path)
    texts = {f"{design.name}.v": design.text, f"{design.name}_testbench.v": design.testbench}
    for file, text in texts.items():
        folder.write(file, text)
    folder.write_json(_DESCRIPTION, design.to_dict())
    return dataclasses.replace(design, folder=path)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise InvalidInputError(
            f"name must be at most {_LONGEST_NAME} letters, digits and underscores, no digit first. "
            f"Received: name={spell(name)}"
        )
    if name in _KEYWORDS:
        raise InvalidInputError(
            f"name must not be a word of Verilog's own. Received: name={spell(name)}. Another one is "
            f"'{name}_network'."
        )


def _check_folder(path: Path) -> None:
    """Refuse a folder that holds anything but a design of the same kind."""
    if not path.exists():
        return
    if not path.is_dir():
        raise RunDirectoryError(f"{path} is a file, not a folder. Name another one.")
    there = {each.name for each in path.iterdir()}
    if not there:
        return
    ours: set[str] = {_DESCRIPTION}
    if _DESCRIPTION in there:
        try:
            module = json.loads((path / _DESCRIPTION).read_text(encoding="utf-8"))["module"]
        except (ValueError, TypeError, KeyError):
            module = ""
        ours |= {f"{module}.v", f"{module}_testbench.v"}
    if foreign := sorted(there - ours):
        raise RunDirectoryError(
            f"{path} holds {foreign[0]!r}, which this did not write, and is left as it is. Name an empty "
            "folder or a new one."
        )
