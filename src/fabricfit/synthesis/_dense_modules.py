"""Text of the Verilog modules that :mod:`fabricfit.synthesis.verilog` describes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["DenseLayer", "of_constants", "time_multiplexed"]


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer with checked numbers.

    Parameters
    ----------
    kernel
        Signed integers, shape ``(n_in, n_out)``.
    bias
        One integer for each output.
    weight_width, input_width, sum_width
        Bit widths of a weight, an input and a sum.
    reuse_factor
        Cycles over which a multiplier is shared.
    unrolled
        Whether multipliers are left out whose weights are all zero.
    name
        Name of the module.
    """

    kernel: np.ndarray
    bias: list[int]
    weight_width: int
    input_width: int
    sum_width: int
    reuse_factor: int
    unrolled: bool
    name: str

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.kernel.shape[0])

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.kernel.shape[1])

    @property
    def inputs(self) -> list[str]:
        """Names of the registers of the inputs."""
        return [f"x{i}" for i in range(self.n_in)]

    @property
    def product_width(self) -> int:
        """Bits of a product."""
        return self.weight_width + self.input_width

    @property
    def period(self) -> int:
        """Number of inputs that one multiplier processes in turn."""
        return min(self.reuse_factor, self.n_in)

    @property
    def turns(self) -> int:
        """Number of outputs that one multiplier serves one after the other."""
        return self.reuse_factor // self.period


def of_constants(layer: DenseLayer) -> str:
    """Write the layer whose weights are constants in the logic."""
    products: list[str] = []
    terms = [[_write_literal(value, layer.sum_width + 1)] if value else [] for value in layer.bias]
    for i, row in enumerate(layer.kernel.tolist()):
        numbered = {weight: k for k, weight in enumerate(dict.fromkeys(w for w in row if w))}
        for weight, k in numbered.items():
            factor = _write_literal(weight, layer.weight_width + 1)
            products.append(_write_wire(layer.product_width, f"p{i}_{k}", f"x{i} * {factor}"))
        for output, weight in enumerate(row):
            if weight:
                terms[output].append(f"p{i}_{numbered[weight]}")
    sums = [f"s{output}" for output in range(layer.n_out)]
    body = [
        f"reg signed {_write_range(layer.input_width)} {', '.join(layer.inputs)};",
        f"always @(posedge clk) {_join_word(layer.inputs)} <= x;",
        *products,
        *(
            _write_wire(layer.sum_width, s, _add_terms(found))
            for s, found in zip(sums, terms, strict=True)
        ),
        f"always @(posedge clk) y <= {_join_word(sums)};",
    ]
    return _write_module(
        layer.name, [*_list_ports(layer), f"output reg {_output_range(layer)} y"], body
    )


def time_multiplexed(layer: DenseLayer) -> str:
    """Write the layer whose multipliers read a weight from a memory in each cycle."""
    runs = layer.kernel.T.reshape(-1, layer.reuse_factor)
    used = [m for m, run in enumerate(runs) if run.any() or not layer.unrolled]
    sums = [f"y{output}" for output in range(layer.n_out)]
    body = [
        f"reg signed {_write_range(layer.input_width)} {', '.join(layer.inputs)};",
        f"reg signed {_write_range(layer.sum_width)} {', '.join(sums)};",
        f"assign y = {_join_word(sums)};",
        *_write_control(layer),
        *_write_multipliers(layer, used),
        *(_add_parts(layer, used) if layer.turns == 1 else _add_in_turn(layer, used)),
    ]
    ports = ["input wire start", f"output wire {_output_range(layer)} y", "output reg done"]
    text = _write_module(layer.name, [*_list_ports(layer), *ports], body)
    return text + (_write_memory(layer, runs[used]) if used else "")


def _write_control(layer: DenseLayer) -> list[str]:
    """Count the cycles: the position in the run of inputs, and the turn of the outputs."""
    counters = {"position": layer.period, "turn": layer.turns}
    if layer.turns == 1:
        del counters["turn"]
    last = " && ".join(f"{name} == {count - 1}" for name, count in counters.items())
    step = f"        position <= position == {layer.period - 1} ? 0 : position + 1;"
    turn = f"        if (position == {layer.period - 1}) turn <= turn + 1;"
    return [
        "reg busy;",
        *(f"reg {_write_range(_count_bits(count))} {name};" for name, count in counters.items()),
        f"initial begin busy = 0; done = 0; {' '.join(f'{name} = 0;' for name in counters)} end",
        "always @(posedge clk) begin",
        f"    done <= busy && {last} && !start;",
        "    if (start) begin",
        f"        {_join_word(layer.inputs)} <= x;",
        "        busy <= 1;",
        *(f"        {name} <= 0;" for name in counters),
        "    end else if (busy) begin",
        *([step] if layer.turns == 1 else [step, turn]),
        f"        busy <= !({last});",
        "    end",
        "end",
    ]


def _write_multipliers(layer: DenseLayer, used: list[int]) -> list[str]:
    """Read the weights, pick the inputs and multiply."""
    if not used:
        return []
    bits = layer.weight_width
    cycle = "position" if layer.turns == 1 else "{turn, position}"
    lines = [
        f"wire {_write_range(bits * len(used))} w;",
        f"{layer.name}_weights weights (.cycle({cycle}), .words(w));",
    ]
    firsts = {m: m * layer.reuse_factor % layer.n_in for m in used}
    for first in sorted(set(firsts.values())):
        picks = [f"u{first} = x{first + position};" for position in range(layer.period)]
        lines.append(f"reg signed {_write_range(layer.input_width)} u{first};")
        lines += ["always @*", *_indent(_write_case("position", picks))]
    for k, (m, first) in enumerate(firsts.items()):
        weight = f"$signed(w[{(k + 1) * bits - 1}:{k * bits}])"
        lines.append(_write_wire(layer.product_width, f"p{m}", f"u{first} * {weight}"))
    return lines


def _add_parts(layer: DenseLayer, used: list[int]) -> list[str]:
    """Add to each output, in every cycle, the products of all its multipliers."""
    parts = layer.n_in // layer.reuse_factor
    additions = []
    for output in range(layer.n_out):
        terms = [f"p{m}" for m in used if m // parts == output]
        if terms:
            additions.append(f"y{output} <= y{output} + {_add_terms(terms)};")
    return _write_accumulation(layer, additions)


def _add_in_turn(layer: DenseLayer, used: list[int]) -> list[str]:
    """Let each multiplier pick the sum that it adds to, and write it back, output by output."""
    lines, writes = [], []
    for m in used:
        outputs = [m * layer.turns + turn for turn in range(layer.turns)]
        picks = [f"a{m} = y{output};" for output in outputs]
        lines.append(f"reg signed {_write_range(layer.sum_width)} a{m};")
        lines += ["always @*", *_indent(_write_case("turn", picks))]
        lines.append(_write_wire(layer.sum_width, f"s{m}", f"a{m} + p{m}"))
        writes += _write_case("turn", [f"y{output} <= s{m};" for output in outputs])
    return lines + _write_accumulation(layer, writes)


def _write_accumulation(layer: DenseLayer, additions: list[str]) -> list[str]:
    """Set the sums to the bias at the start, and add to them in each cycle."""
    resets = [
        f"y{output} <= {_write_literal(value, layer.sum_width + 1)};"
        for output, value in enumerate(layer.bias)
    ]
    return [
        "always @(posedge clk)",
        "    if (start) begin",
        *_indent(_indent(resets)),
        "    end else if (busy) begin",
        *_indent(_indent(additions)),
        "    end",
    ]


def _write_memory(layer: DenseLayer, runs: np.ndarray) -> str:
    """Write the memory of the weights: a word for each cycle, one weight for each multiplier."""
    bits = _count_bits(layer.period)
    words, labels = [], []
    for cycle, column in enumerate(runs.T.tolist()):
        words.append(f"words = {_join_word([_write_bits(w, layer.weight_width) for w in column])};")
        labels.append((cycle // layer.period << bits) + cycle % layer.period)
    bits += _count_bits(layer.turns) if layer.turns > 1 else 0
    ports = [
        f"input wire {_write_range(bits)} cycle",
        f"output reg {_write_range(layer.weight_width * len(runs))} words",
    ]
    body = ["always @*", *_indent(_write_case("cycle", words, labels))]
    return f"\n(* keep_hierarchy *)\n{_write_module(f'{layer.name}_weights', ports, body)}"


def _write_module(name: str, ports: list[str], body: list[str]) -> str:
    head = ",\n    ".join(ports)
    lines = "".join(f"{line}\n" for line in _indent(body))
    return f"module {name} (\n    {head}\n);\n{lines}endmodule\n"


def _list_ports(layer: DenseLayer) -> list[str]:
    return ["input wire clk", f"input wire {_write_range(layer.n_in * layer.input_width)} x"]


def _output_range(layer: DenseLayer) -> str:
    return _write_range(layer.n_out * layer.sum_width)


def _write_wire(bits: int, name: str, value: str) -> str:
    return f"wire signed {_write_range(bits)} {name} = {value};"


def _write_case(selector: str, statements: list[str], labels: list[int] | None = None) -> list[str]:
    """Write one statement for each value of a selector; the last serves all other values too."""
    values = list(range(len(statements))) if labels is None else labels
    names = [*map(str, values[:-1]), "default"]
    lines = [f"{name}: {text}" for name, text in zip(names, statements, strict=True)]
    return [f"case ({selector})", *_indent(lines), "endcase"]


def _indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _add_terms(terms: list[str]) -> str:
    """Add terms in a balanced tree."""
    while len(terms) > 1:
        pairs = [f"({a} + {b})" for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0] if terms else "0"


def _join_word(parts: list[str]) -> str:
    """Join parts to a word, the first in the lowest bits."""
    return "{" + ", ".join(reversed(parts)) + "}"


def _write_literal(value: int, bits: int) -> str:
    """Write a signed constant for a sum or product; ``bits`` must hold its size and a sign."""
    return f"{'-' if value < 0 else ''}{bits}'sd{abs(value)}"


def _write_bits(value: int, bits: int) -> str:
    """Write the bits of a signed constant, for a memory."""
    return f"{bits}'h{value % (1 << bits):x}"


def _write_range(bits: int) -> str:
    return f"[{bits - 1}:0]"


def _count_bits(count: int) -> int:
    return max((count - 1).bit_length(), 1)
