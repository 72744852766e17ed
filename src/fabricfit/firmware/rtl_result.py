"""What a network written as Verilog is: its files, and the outcome of its simulation and synthesis."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabricfit.synthesis.yosys import CellCounts
from fabricfit.tables import Document, Printable, TextTable

if TYPE_CHECKING:
    from fabricfit.firmware.emulation import Format

__all__ = ["Port", "RtlDesign", "RtlDifference", "RtlVerification"]

_BARS = (0.82, 1.15)
"""LUTs that Yosys uses, as a part of those estimated: least (sums that lose bits), most (tiny networks)."""


@dataclass(frozen=True)
class Port:
    """Numbers that enter or leave a circuit in one word, the first in the lowest bits.

    Parameters
    ----------
    name
        The port.
    layer
        The layer of hls4ml's graph whose results they are.
    shape
        Their shape, without the samples.
    format
        Their number format: each has ``format.width`` bits.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    format: Format

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Bits of the word."""
        return self.numbers * int(self.format.width)

    def to_words(self, values: np.ndarray) -> list[int]:
        """Return the words of samples, given integers in units of the format's last bit."""
        bits = int(self.format.width)  # hls4ml may count in NumPy's integers, which overflow
        mask = (1 << bits) - 1
        words = []
        for sample in values.reshape(len(values), -1).tolist():
            word = 0
            for number in reversed(sample):
                word = word << bits | number & mask
            words.append(word)
        return words


@dataclass(frozen=True)
class RtlDesign(Printable):
    """A network as a Verilog module.

    Parameters
    ----------
    name
        The module. It has a port ``clk``, one for the word of each input and one for each output.
    text, testbench
        The Verilog of the module, and of one that feeds it samples from files.
    inputs, outputs
        The ports of words: the numbers' formats, their shape, the first number in the lowest bits.
    latency
        Cycles from a sample to its results; the module takes a sample every cycle.
    cost
        Cost of its logic as alkaid counts it.
    lut
        LUTs estimated.
    flip_flops
        Bits of its registers.
    ends_before
        Softmax layers that are left out: the outputs are their inputs.
    folder
        Where it was written; None if it was not.
    """

    name: str
    text: str
    testbench: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    latency: int
    cost: float
    lut: int
    flip_flops: int
    ends_before: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def lut_bars(self) -> tuple[int, int]:
        """The least and the most LUTs that a synthesis is expected to use."""
        return round(self.lut * _BARS[0]), round(self.lut * _BARS[1])

    def to_dict(self) -> dict[str, Any]:
        """Return what it is, without its text, as plain numbers, strings, lists and dictionaries."""
        return {
            "module": self.name,
            "latency": self.latency,
            "cost": self.cost,
            "lut": self.lut,
            "lut_bars": list(self.lut_bars),
            "flip_flops": self.flip_flops,
            "ends_before": list(self.ends_before),
            **{
                kind: [
                    {
                        "port": port.name,
                        "layer": port.layer,
                        "shape": list(port.shape),
                        "bits": int(port.format.width),
                        "fractional_bits": int(port.format.fractional),
                        "signed": bool(port.format.signed),
                    }
                    for port in ports
                ]
                for kind, ports in (("inputs", self.inputs), ("outputs", self.outputs))
            },
        }

    def _make_document(self) -> Document:
        least, most = self.lut_bars
        lines = [
            f"Verilog module {self.name!r}: {self.latency} cycles, a sample every cycle; about "
            f"{self.lut:,} LUT ({least:,} to {most:,}), {self.flip_flops:,} FF"
        ]
        lines += [f"in: {_describe_port(port)}" for port in self.inputs]
        lines += [f"out: {_describe_port(port)}" for port in self.outputs]
        lines += [f"it ends before softmax {name!r}" for name in self.ends_before]
        return Document([*lines, *([] if self.folder is None else [f"written to {self.folder}"])])


def _describe_port(port: Port) -> str:
    shape = "×".join(map(str, port.shape))
    return f"{port.name}, {port.width} bits: {shape} of {port.layer!r}, each {port.format}"


@dataclass(frozen=True)
class RtlDifference:
    """An output of the simulated Verilog that is not what the emulation computes.

    Parameters
    ----------
    layer
        The layer whose results the output is.
    samples
        Number of samples whose words differ.
    """

    layer: str
    samples: int

    def __str__(self) -> str:
        return f"the Verilog's output {self.layer!r} differs from the emulation in {self.samples} samples"


@dataclass(frozen=True)
class RtlVerification(Printable):
    """Outcome of the simulation and the synthesis of a network's Verilog.

    Parameters
    ----------
    design
        The Verilog.
    samples
        Samples that were simulated.
    differences
        Outputs that differ from the emulation.
    cells
        Cells that the synthesis counts; None where it was not run to its end.
    tool
        The synthesis tool and its version; ``''`` without one.
    seconds
        Time of the synthesis.
    remarks
        Why there is no synthesis, or what else is to be said.
    """

    design: RtlDesign
    samples: int
    differences: tuple[RtlDifference, ...] = ()
    cells: CellCounts | None = None
    tool: str = ""
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether every word of every sample is what the emulation computes."""
        return not self.differences

    @property
    def within_estimate(self) -> bool | None:
        """Whether the synthesis uses as many LUTs as were estimated; None without one."""
        if self.cells is None:
            return None
        least, most = self.design.lut_bars
        return least <= self.cells.lut <= most

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain numbers, strings, lists and dictionaries."""
        return {
            "agrees": self.agrees,
            "samples": self.samples,
            "design": self.design.to_dict(),
            "differences": [asdict(difference) for difference in self.differences],
            "cells": None if self.cells is None else asdict(self.cells),
            "within_estimate": self.within_estimate,
            "tool": self.tool,
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }

    def _make_document(self) -> Document:
        lines: list[str | Document | TextTable] = [self.design._make_document()]
        if self.agrees:
            lines.append(f"{self.samples} samples: the simulated Verilog agrees bit for bit.")
        lines += map(str, self.differences)
        if self.cells is not None:
            least, most = self.design.lut_bars
            head = ("resource", "estimated", "from", "to", self.tool, "")
            verdict = "within" if self.within_estimate else "BEYOND"
            flip_flops = f"{self.design.flip_flops:,}"
            rows = [
                (
                    "LUT",
                    f"{self.design.lut:,}",
                    f"{least:,}",
                    f"{most:,}",
                    f"{self.cells.lut:,}",
                    verdict,
                ),
                ("FF", flip_flops, "", flip_flops, f"{self.cells.ff:,}", ""),
                ("DSP", "0", "", "", f"{self.cells.dsp:,}", ""),
            ]
            lines.append(TextTable(head, rows, frozenset((0, 5))))
            lines.append(f"synthesized in {self.seconds:.0f} s")
        return Document([*lines, *self.remarks])
