"""Recurrent layers: products of the input and of the state, gates from tables, step by step.

As in ``nnet_recurrent.h``. Sums, gates and what they are multiplied to have the accumulator's format, states
that of the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.activations import rectify
from fabricfit.firmware.emulation.fixed import (
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    multiply,
)
from fabricfit.firmware.emulation.matrix_products import accumulate, addition_order
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.tables import compute_by_table
from fabricfit.firmware.emulation.weights import KerasWeights


@register("LSTM", "GRU")
def recurrent(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a recurrent layer of one direction."""
    states = _Direction.of(node, weights).run(inputs[0])
    values = states.values if node.get_attr("return_sequences") else states.values[:, -1]
    return FixedTensor(values, states.format)


@register("Bidirectional")
def bidirectional(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute two directions, whose results stand side by side."""
    x, backwards = inputs[0], FixedTensor(inputs[0].values[:, ::-1], inputs[0].format)
    forward = _Direction.of(node, weights, "forward").run(x)
    backward = _Direction.of(node, weights, "backward").run(backwards)
    if node.get_attr("return_sequences"):
        values = np.concatenate([forward.values, backward.values[:, ::-1]], axis=-1)
    else:
        values = np.concatenate([forward.values[:, -1], backward.values[:, -1]], axis=-1)
    return FixedTensor(values, forward.format)


@dataclass(frozen=True)
class _Direction:
    """A recurrent layer of one direction.

    Parameters
    ----------
    node
        The node of hls4ml's graph.
    kind
        ``'LSTM'`` or ``'GRU'``.
    functions
        Names of the functions of the gates, and of what is proposed for the state.
    kernels, biases
        Of the input and of the state: shapes ``(n, gates · units)`` and ``(gates · units,)``.
    orders
        The order in which the products of each are added.
    """

    node: Any
    kind: str
    functions: tuple[str, str]
    kernels: tuple[FixedTensor, FixedTensor]
    biases: tuple[FixedTensor, FixedTensor]
    orders: tuple[list[int], list[int]]

    @classmethod
    def of(cls, node: Any, weights: KerasWeights, direction: str = "") -> _Direction:
        """Read it off a node and the Keras model's weights."""
        part, prefix = (f"{direction}/", f"{direction}_") if direction else ("", "")
        kind = str(node.get_attr(f"{prefix}class_name")) if direction else node.class_name
        if node.get_attr("pytorch", False) or node.get_attr("return_state"):
            raise NotModelledError("recurrent layers of PyTorch, or with states as results")
        kernels = [weights.kernel(node, f"{part}{name}") for name in ("kernel", "recurrent_kernel")]
        rows = weights.bias_rows(node, f"{part}kernel")
        none = FixedTensor(np.zeros(kernels[0].shape[1], np.int64), Format(1, 1))
        biases = [*rows, none, none][:2]
        names = (f"{prefix}recurrent_activation", f"{prefix}activation")
        gates, proposed = (str(node.get_attr(name)).lower() for name in names)
        factors = [
            int(node.get_attr(f"{prefix}{name}", 1))
            for name in ("reuse_factor", "recurrent_reuse_factor")
        ]
        orders = [
            addition_order(kernel.shape[0], factor, node.get_attr("strategy"))
            for kernel, factor in zip(kernels, factors, strict=True)
        ]
        return cls(
            node,
            kind.removeprefix("Q"),
            (gates, proposed),
            (kernels[0], kernels[1]),
            (biases[0], biases[1]),
            (orders[0], orders[1]),
        )

    @property
    def accum(self) -> Format:
        """The format of sums and gates."""
        return format_of(self.node, "accum_t")

    def run(self, x: FixedTensor) -> FixedTensor:
        """Return the state after each step, shape ``(samples, steps, units)``."""
        units, form = self.kernels[1].shape[0], result_format(self.node)
        zeros = FixedTensor(np.zeros((len(x.values), units), np.int64), form)
        state, memory, found = zeros, zeros, []
        for step in range(x.shape[1]):
            received = FixedTensor(x.values[:, step], x.format)
            sums = self._sum(received, 0), self._sum(state, 1)
            if self.kind == "LSTM":
                state, memory = self._step_lstm(*sums, memory)
            else:
                state = self._step_gru(*sums, state)
            found.append(state.values)
        return FixedTensor(np.stack(found, axis=1), form)

    def _sum(self, values: FixedTensor, place: int) -> FixedTensor:
        kernel, bias, order = self.kernels[place], self.biases[place], self.orders[place]
        return accumulate(values, kernel, bias, self.accum, order)

    def _step_lstm(
        self, ours: FixedTensor, theirs: FixedTensor, memory: FixedTensor
    ) -> tuple[FixedTensor, FixedTensor]:
        sums = _split(cast(add(ours, theirs), self.accum), 4)
        enter, forget, leave = (self._apply(sums[gate], 0) for gate in (0, 1, 3))
        proposed = self._apply(sums[2], 1)
        memory = cast(
            add(multiply(proposed, enter), multiply(memory, forget)), result_format(self.node)
        )
        shown = self._apply(memory, 1)
        return cast(multiply(leave, shown), result_format(self.node)), memory

    def _step_gru(self, ours: FixedTensor, theirs: FixedTensor, state: FixedTensor) -> FixedTensor:
        own, others = _split(ours, 3), _split(theirs, 3)
        keep, reset = (
            self._apply(cast(add(own[gate], others[gate]), self.accum), 0) for gate in (0, 1)
        )
        remembered = cast(multiply(reset, others[2]), self.accum)
        proposed = self._apply(cast(add(own[2], remembered), self.accum), 1)
        one = 1 << keep.format.fractional
        wider = Format(keep.format.width + 1, keep.format.integer + 1)
        rest = FixedTensor(one - keep.values, wider)
        mixed = add(multiply(proposed, rest), multiply(state, keep))
        return cast(mixed, result_format(self.node))

    def _apply(self, x: FixedTensor, place: int) -> FixedTensor:
        """Return a function of sums or of the memory: that of gates, or the other one."""
        name = self.functions[place]
        match name:
            case "sigmoid" | "tanh":
                return cast(compute_by_table(self.node, x, name), self.accum)
            case "relu":
                return rectify(x, self.accum)
        raise NotModelledError(f"the activation {name!r} of a recurrent layer")


def _split(sums: FixedTensor, gates: int) -> list[FixedTensor]:
    return [FixedTensor(each, sums.format) for each in np.split(sums.values, gates, axis=-1)]
