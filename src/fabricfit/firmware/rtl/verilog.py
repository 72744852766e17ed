"""A circuit as a Verilog module, with registers where the additions in a row are too many for a clock.

The module is plain Verilog-2001 of one file: wires of exactly the bits that can change, additions,
selections and tables. It takes one sample a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from fabricfit.firmware.rtl.circuit import Circuit
from fabricfit.firmware.rtl_result import Port

__all__ = ["Module", "write_module", "write_testbench"]

_ADDITION = 1.2
"""Latency of an addition, as alkaid counts it, with the carries of a narrow one."""


@dataclass(frozen=True)
class Module:
    """A circuit as text.

    Parameters
    ----------
    name
        Name of the module. Its ports are ``clk``, one word for each input, and one for each output.
    text
        The Verilog.
    latency
        Cycles from a sample to its results; there is a new sample every cycle.
    flip_flops
        Bits of its registers.
    """

    name: str
    text: str
    latency: int
    flip_flops: int


@dataclass(frozen=True)
class _Signal:
    """Bits of a number: ``exponent`` is that of its last bit; those above the first are its sign."""

    name: str
    width: int
    signed: bool
    exponent: int

    def bits(self, exponent: int, width: int) -> str:
        """Write so many bits of it, the last one with this exponent."""
        low = exponent - self.exponent
        zeros = min(max(-low, 0), width)
        start = max(low, 0)
        inside = max(0, min(width - zeros, self.width - start))
        above = width - zeros - inside
        if not inside and not (self.signed and above):
            return f"{width}'d0"
        parts = []
        if above:
            sign = f"{self.name}[{self.width - 1}]"
            parts.append(f"{{{above}{{{sign}}}}}" if self.signed else f"{above}'d0")
        if inside:
            whole = inside == self.width
            parts.append(self.name if whole else f"{self.name}[{start + inside - 1}:{start}]")
        parts += [f"{zeros}'d0"] if zeros else []
        return parts[0] if len(parts) == 1 else f"{{{', '.join(parts)}}}"


@dataclass(frozen=True)
class _Constant:
    """An integer times a power of two, in the place of a signal."""

    value: int
    exponent: int

    def bits(self, exponent: int, width: int) -> str:
        low = exponent - self.exponent
        value = self.value >> low if low >= 0 else self.value << -low
        return f"{width}'h{value & ((1 << width) - 1):x}"


def write_module(circuit: Circuit, name: str, register_every: int | None) -> Module:
    """Write a circuit as a module.

    Parameters
    ----------
    circuit
        The circuit.
    name
        Name of the module.
    register_every
        Additions in a row after which there are registers; None for registers at the ends only.
    """
    writer = _Writer(circuit, register_every)
    body = writer.write()
    ports = ["input wire clk"]
    ports += [f"input wire [{port.width - 1}:0] {port.name}" for port in circuit.inputs]
    ports += [f"output reg [{port.width - 1}:0] {port.name}" for port in circuit.outputs]
    listed = ",\n".join(f"    {port}" for port in ports)
    lines = "\n".join(f"    {line}" for line in body)
    text = f"module {name} (\n{listed}\n);\n{lines}\nendmodule\n"
    bits = sum(port.width for port in (*circuit.inputs, *circuit.outputs))
    bits += sum(writer.width(number) for number, _ in writer.registers)
    return Module(name, text, writer.stages + 1, bits)


class _Writer:
    def __init__(self, circuit: Circuit, register_every: int | None) -> None:
        self.circuit = circuit
        self.ops: list[Any] = list(circuit.logic.ops)
        self.stage_of, self.stages = _divide_into_stages(circuit.logic, register_every)
        self.lines: list[str] = []
        self.registers: dict[tuple[int, int], str] = {}
        self.inputs = [(port, i) for port in circuit.inputs for i in range(port.numbers)]

    def write(self) -> list[str]:
        """Return the lines of the module."""
        for number, op in enumerate(self.ops):
            if self.width(number):
                self._write_operation(number, op)
        ends = [end for port in self.circuit.outputs for end in self._write_output(port)]
        held = [f"reg [{port.width - 1}:0] {port.name}_in;" for port in self.circuit.inputs]
        held += [
            f"reg [{self.width(number) - 1}:0] v{number}_{stage};"
            for number, stage in self.registers
        ]
        steps = [f"    {port.name}_in <= {port.name};" for port in self.circuit.inputs]
        steps += [f"    v{n}_{stage} <= {source};" for (n, stage), source in self.registers.items()]
        clocked = ["always @(posedge clk) begin", *steps, *(f"    {end}" for end in ends), "end"]
        return [*held, *self.lines, *clocked]

    def width(self, number: int) -> int:
        """Return the bits of an operation's result."""
        return int(sum(self.ops[number].qint.kif))

    def _signal(self, number: int, stage: int) -> _Signal | _Constant:
        """Return a result as it is in a stage: behind as many registers as there are stages between."""
        op, made = self.ops[number], self.stage_of[number]
        signed, _, fractional = op.qint.kif
        width = self.width(number)
        if op.opcode == 5 or width == 0:
            value = int(op.data[0]) if op.opcode == 5 else 0
            return _Constant(value, -fractional)
        name = f"v{number}"
        for between in range(made + 1, stage + 1):
            self.registers.setdefault((number, between), name)
            name = f"v{number}_{between}"
        return _Signal(name, width, bool(signed), -fractional)

    def _write_operation(self, number: int, op: Any) -> None:
        width, exponent = self.width(number), -op.qint.kif[2]
        stage, name = self.stage_of[number], f"v{number}"
        given = [self._signal(i, stage) for i in op.addr]
        match op.opcode:
            case -1:
                port, position = self.inputs[op.data[0]]
                low = position * port.format.width + exponent
                made = f"{port.name}_in[{low + width - 1}:{low}]"
            case -2:
                made = f"-{_grouped(given[0].bits(exponent, width))}"
            case 0 | 1:
                other = _scaled(given[1], op.data[0])
                made = self._write_sum(name, given[0], other, op.opcode == 1, exponent, width)
            case 4:
                constant = _Constant(int(op.data[0]), -int(op.data[1]))
                made = self._write_sum(name, given[0], constant, False, exponent, width)
            case 2:
                bits, sign = given[0].bits(exponent, width), _sign_of(given[0])
                made = f"{bits} & {{{width}{{~{sign}}}}}" if sign else bits
            case 3:
                made = _scaled(given[0], op.data[0]).bits(exponent, width)
            case 5:
                return
            case 6:
                first = given[0].bits(exponent, width)
                second = _scaled(given[1], op.data[0]).bits(exponent, width)
                made = f"{_top_of(given[2])} ? {first} : {second}"
            case 7:
                made = self._write_product(name, given[0], given[1], exponent, width)
            case 8:
                self._write_table(number, op, given[0])
                return
            case 9:
                made = _write_unary(op.data[0], given[0], exponent, width)
            case 10:
                first = given[0].bits(exponent, width)
                second = _scaled(given[1], op.data[0]).bits(exponent, width)
                made = f"{first} {'&|^'[op.data[1]]} {second}"
            case _:
                raise AssertionError(f"alkaid's operation {op.opcode} is not one that was traced")
        self.lines.append(f"wire [{width - 1}:0] {name} = {made};")

    def _write_sum(self, name: str, a: Any, b: Any, minus: bool, exponent: int, width: int) -> str:
        """Write a sum or a difference; bits below the other number's last one pass by the adder."""
        passing = a if a.exponent < b.exponent else b
        cut = abs(a.exponent - b.exponent)
        base = max(a.exponent, b.exponent)
        if minus and passing is b:  # their negative does not pass
            base, cut = b.exponent, 0
        upper = width + exponent - base
        if upper <= 0:
            return str(passing.bits(exponent, width))
        sign = "-" if minus else "+"
        added = f"{a.bits(base, upper)} {sign} {b.bits(base, upper)}"
        if not cut and base == exponent:
            return added
        self.lines.append(f"wire [{upper - 1}:0] {name}_s = {added};")
        total = _Signal(f"{name}_s", upper, True, base)
        if exponent >= base:
            return total.bits(exponent, width)
        return f"{{{name}_s, {passing.bits(exponent, base - exponent)}}}"

    def _write_product(self, name: str, a: Any, b: Any, exponent: int, width: int) -> str:
        sizes = [each.width + (not each.signed) for each in (a, b)]
        first, second = (
            f"$signed({each.bits(each.exponent, size)})"
            for each, size in zip((a, b), sizes, strict=True)
        )
        wide = sum(sizes)
        self.lines.append(f"wire signed [{wide - 1}:0] {name}_p = {first} * {second};")
        return _Signal(f"{name}_p", wide, True, a.exponent + b.exponent).bits(exponent, width)

    def _write_table(self, number: int, op: Any, given: Any) -> None:
        table = self.circuit.logic.lookup_tables[op.data[0]]
        width, mask = self.width(number), (1 << self.width(number)) - 1
        entries = table.padded_table(self.ops[op.addr[0]].qint)
        self.lines += [f"reg [{width - 1}:0] v{number};", f"always @* case ({given.name})"]
        self.lines += [
            f"    {given.width}'d{at}: v{number} = {width}'h{int(entry) & mask:x};"
            for at, entry in enumerate(entries)
            if not np.isnan(entry)
        ]
        self.lines += [f"    default: v{number} = {width}'bx;", "endcase"]

    def _write_output(self, port: Port) -> list[str]:
        """Return the lines that put the results into a port's word."""
        offset = sum(p.numbers for p in self.circuit.outputs[: self.circuit.outputs.index(port)])
        bits, logic, lines = port.format.width, self.circuit.logic, []
        for i in range(port.numbers):
            index, shift = logic.out_idxs[offset + i], logic.out_shifts[offset + i]
            source: Any = _Constant(0, 0)
            if index >= 0:
                source = _scaled(self._signal(index, self.stages - 1), shift)
            assert not logic.out_negs[offset + i], "alkaid negates by an operation"
            lines.append(f"{port.name}[{(i + 1) * bits - 1}:{i * bits}] <= {source.bits(0, bits)};")
        return lines


def _divide_into_stages(logic: Any, register_every: int | None) -> tuple[list[int], int]:
    """Return the stage of each operation, so that each stage has about as many additions in a row."""
    latencies = np.array([op.latency for op in logic.ops], float)
    whole = float(latencies.max(initial=0.0))
    stages = 1
    if register_every is not None and whole > 0:
        stages = max(1, ceil(whole / (register_every * _ADDITION)))
    ends = np.linspace(0, whole, stages + 1)[1:-1] + 1e-9
    return np.searchsorted(ends, latencies, side="left").tolist(), stages


def _grouped(text: str) -> str:
    return f"({text})"


def _scaled(signal: Any, shift: int) -> Any:
    exponent = signal.exponent + int(shift)
    if isinstance(signal, _Constant):
        return _Constant(signal.value, exponent)
    return _Signal(signal.name, signal.width, signal.signed, exponent)


def _sign_of(signal: Any) -> str:
    return _top_of(signal) if isinstance(signal, _Signal) and signal.signed else ""


def _top_of(signal: Any) -> str:
    return f"{signal.name}[{signal.width - 1}]"


def _write_unary(kind: int, given: Any, exponent: int, width: int) -> str:
    if kind == 0:
        return f"~{_grouped(given.bits(exponent, width))}"
    return f"{'|' if kind == 1 else '&'}{given.name}"


def write_testbench(circuit: Circuit, module: Module) -> str:
    """Write a module that feeds samples from ``<port>.hex`` and writes the results into files of that form.

    The parameter ``SAMPLES`` is their number.
    """
    inputs, outputs = circuit.inputs, circuit.outputs
    declared = [f"reg [{p.width - 1}:0] {p.name}, {p.name}_words [0:SAMPLES-1];" for p in inputs]
    declared += [f"wire [{p.width - 1}:0] {p.name}; integer {p.name}_file;" for p in outputs]
    ports = ", ".join(f".{name}({name})" for name in ("clk", *(p.name for p in inputs + outputs)))
    opened = [f'$readmemh("{p.name}.hex", {p.name}_words);' for p in inputs]
    opened += [f'{p.name}_file = $fopen("{p.name}.hex", "w");' for p in outputs]
    fed = [f"if (n < SAMPLES) {p.name} = {p.name}_words[n];" for p in inputs]
    kept = [
        f'if (n >= {module.latency}) $fwrite({p.name}_file, "%h\\n", {p.name});' for p in outputs
    ]
    inner = "\n".join(f"            {line}" for line in [*fed, *kept, "#1 clk = 1;", "#1 clk = 0;"])
    before = "\n".join(f"        {line}" for line in opened)
    behind = "\n".join(f"        $fclose({p.name}_file);" for p in outputs)
    head = "\n".join(f"    {line}" for line in declared)
    return (
        f"`timescale 1ns/1ps\nmodule {module.name}_testbench;\n    parameter SAMPLES = 1;\n"
        f"    reg clk; integer n;\n{head}\n    {module.name} tested ({ports});\n"
        f"    initial begin\n        clk = 0;\n{before}\n"
        f"        for (n = 0; n < SAMPLES + {module.latency}; n = n + 1) begin\n{inner}\n        end\n"
        f"{behind}\n        $finish;\n    end\nendmodule\n"
    )
