"""A network as one circuit: its layers traced with the emulation's own functions, on signals."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, require
from fabricfit.firmware.emulation import FixedTensor, Format, KerasWeights, NotModelledError
from fabricfit.firmware.emulation.registry import find, result_format
from fabricfit.firmware.emulation.wires import Wires
from fabricfit.firmware.quantized_network import QuantizedNetwork
from fabricfit.firmware.rtl_result import Port

__all__ = ["MAX_PRODUCTS", "Circuit", "trace_circuit"]

logger = logging.getLogger(__name__)

MAX_PRODUCTS = 100_000
"""Products of all positions that are written side by side; about 5 s for each 10,000."""

_LUT_PER_BIT = {-2: 0.9, 4: 0.35, 6: 0.3}
"""LUTs of a bit of a negation, of the addition of a constant, and of a choice between two numbers, as Yosys
builds them; of everything else alkaid's cost is the number of LUTs."""

_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "Bidirectional", "TimeDistributed")


@dataclass(frozen=True)
class Circuit:
    """A network as logic between words.

    Parameters
    ----------
    inputs, outputs
        Its ports, in the order of the model's inputs and outputs.
    logic
        alkaid's program of the logic.
    ends_before
        The softmax layers that are left out; the outputs are then their inputs.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    logic: Any
    ends_before: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """Cost of the adders and of all other logic as alkaid counts it."""
        return float(self.logic.cost)

    @property
    def lut(self) -> float:
        """LUTs estimated from the operations: alkaid's cost, and what it counts as next to nothing."""
        return sum(
            _LUT_PER_BIT[op.opcode] * sum(op.qint.kif) if op.opcode in _LUT_PER_BIT else op.cost
            for op in self.logic.ops
        )


def trace_circuit(network: QuantizedNetwork) -> Circuit:
    """Trace a network as one circuit, every position of every layer side by side.

    Parameters
    ----------
    network
        The network as hls4ml builds it.

    Raises
    ------
    InvalidInputError
        A layer cannot be written as a circuit of constants; the message names it and says why.
    MissingExtraError
        ``alkaid`` is not installed.
    """
    trace = require("alkaid.trace", "adders", "A network as Verilog")
    graph = network.graph
    nodes = {node.name: node for node in graph.get_layers()}
    last, left_out = _find_outputs(graph, nodes)
    kept = [node for node in nodes.values() if node.name not in left_out]
    _refuse_layers(kept)
    weights = KerasWeights(network.network, frozenset(nodes))
    made: dict[str, FixedTensor] = {}
    given: list[Port] = []
    for number, node in enumerate(kept, 1):
        logger.info("Verilog: layer %d of %d, %s", number, len(kept), node.name)
        if node.class_name in ("Input", "InputLayer"):
            port, tensor = _make_input(node, f"x{len(given)}" if len(graph.inputs) > 1 else "x")
            given.append(port)
        else:
            tensor = _trace_layer(
                node, [made[name] for name in node.inputs if name in made], weights
            )
        made.update(dict.fromkeys(node.outputs, tensor))
    order = [next(port for port in given if port.layer == name) for name in graph.inputs]
    outputs = tuple(
        Port(
            f"y{number}" if len(last) > 1 else "y",
            node.name,
            tuple(int(n) for n in made[node.outputs[0]].shape[1:]),
            made[node.outputs[0]].format,
        )
        for number, node in enumerate(last)
    )
    ins = [np.asarray(made[nodes[port.layer].outputs[0]].values).ravel() for port in order]
    outs = [np.asarray(made[node.outputs[0]].values).ravel() for node in last]
    logger.info("Verilog: equal parts of %d layers are merged", len(kept))
    logic = trace.trace(np.concatenate(ins), np.concatenate(outs))
    return Circuit(tuple(order), outputs, logic, tuple(left_out))


def _find_outputs(graph: Any, nodes: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Return the layers whose results leave the circuit, and the softmax layers that are left out."""
    makers = {output: node for node in nodes.values() for output in node.outputs}
    used = {name for node in nodes.values() for name in node.inputs}
    last, left_out = [], []
    for output in graph.outputs:
        node = makers[output]
        if node.class_name == "Softmax" and output not in used:
            left_out.append(node.name)
            node = makers[node.inputs[0]]
        last.append(node)
    return last, left_out


def _refuse_layers(nodes: Sequence[Any]) -> None:
    """Refuse layers that are no circuit of constants, before anything is traced."""
    products = 0
    for node in nodes:
        if node.class_name in ("Input", "InputLayer"):
            continue
        if node.class_name in _RECURRENT:
            raise _refusal(node, "it computes step by step, with a state")
        if node.class_name == "Softmax":
            raise _refusal(node, "a softmax multiplies numbers that are not constant")
        try:
            find(node)
        except NotModelledError as reason:
            raise _refusal(node, f"{reason} are not modelled") from None
        if "weight" not in node.weights:
            continue
        factor = int(node.get_attr("reuse_factor", 1) or 1)
        if factor > 1:
            raise _refusal(
                node,
                f"its multipliers are shared in time, with a reuse factor of {factor}; state "
                "'ReuseFactor': 1 for it",
            )
        products += _count_products(node)
    if products > MAX_PRODUCTS:
        raise InvalidInputError(
            f"a network of at most {MAX_PRODUCTS:,} products of all positions can be written side by side. "
            f"Received: {products:,}. Verify it with hls4ml alone, or write a part of it."
        )


def _refusal(node: Any, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"layer {node.name!r} ({node.class_name}) cannot be written as a circuit of constants: {reason}. "
        "Otherwise leave the Verilog out: hls4ml's C++ is verified without it."
    )


def _count_products(node: Any) -> int:
    data = np.asarray(node.weights["weight"].data)
    positions = 1
    if node.class_name.startswith(("Conv", "Pointwise", "Depthwise", "Separable")):
        positions = math.prod(int(n) for n in node.get_output_variable().shape[:-1])
    return int(np.count_nonzero(data)) * positions


def _make_input(node: Any, name: str) -> tuple[Port, FixedTensor]:
    form = result_format(node)
    shape = tuple(int(n) for n in node.get_output_variable().shape)
    plain = Format(form.width, form.integer, form.signed)
    return Port(name, node.name, shape, form), FixedTensor(
        Wires.inputs((1, *shape), *plain.limits), form
    )


def _trace_layer(node: Any, received: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    try:
        made = find(node)(node, received, weights)
    except (NotModelledError, InvalidInputError) as reason:
        raise _refusal(node, str(reason)) from reason
    except (TypeError, AttributeError, NotImplementedError) as error:
        raise _refusal(node, f"its emulation needs values, not signals ({error})") from error
    return FixedTensor(Wires.of(made.values), made.format)
