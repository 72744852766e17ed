"""A network run call by call, with numbers observed or changed on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fabricfit.calibration.tensors import Key, Numbers, Plan
from fabricfit.layers.calls import Call
from fabricfit.layers.units import to_numpy
from fabricfit.network.replay import replay_call, split_activation

__all__ = ["Pass", "Runner", "assigned"]

Change = Callable[[Key, np.ndarray], np.ndarray]


@dataclass
class Pass:
    """All tensors of one run, by their keys."""

    tensors: dict[Key, np.ndarray] = field(default_factory=dict)


class Runner:
    """Runs a network on arrays, from its inputs or from any tensor on.

    Parameters
    ----------
    plan
        The network, and which of its layers hls4ml builds with an activation of their own behind them.
    """

    def __init__(self, plan: Plan) -> None:
        graph = plan.network.graph
        self.graph = graph
        self.calls = [call for call in graph.calls if call.inputs]
        self._split = {
            id(each.named.call): each.named.call.layer.activation
            for each in plan.calls
            if each.kernel is not None and each.named.activation
        }
        self._behind = {t.index: self._calls_behind({t.index}) for t in graph.tensors}

    def run(self, inputs: Sequence[np.ndarray], change: Change | None = None) -> Pass:
        """Run the whole network.

        Parameters
        ----------
        inputs
            An array for each input.
        change
            What becomes of each tensor, given its key and its numbers.
        """
        found = Pass()
        for index, array in zip(self.graph.inputs, inputs, strict=True):
            numbers = np.asarray(array)
            found.tensors[index, False] = (
                numbers if change is None else change((index, False), numbers)
            )
        self._continue(found.tensors, self.calls, change)
        return found

    def outputs(self, found: Pass) -> list[np.ndarray]:
        """Return the outputs of a run, in their order."""
        return [np.asarray(found.tensors[i, False], np.float64) for i in self.graph.outputs]

    def run_from(self, found: Pass, numbers: Numbers, changed: np.ndarray) -> Pass:
        """Run what is behind a tensor, or behind weights, with other numbers in their place.

        Parameters
        ----------
        found
            A run of the network as it is.
        numbers
            Which numbers are others.
        changed
            What they are.
        """
        tensors = dict(found.tensors)
        if numbers.kernel is not None:
            kernel = numbers.kernel
            own = [c for c in self.calls if _holds(c.layer, kernel.variable)]
            behind = self._calls_behind({t.index for c in own for t in c.outputs})
            wanted = {id(call) for call in (*own, *behind)}
            with assigned(kernel.variable, changed):
                self._continue(tensors, [c for c in self.calls if id(c) in wanted], None)
            return Pass(tensors)
        if numbers.before_activation:
            call = self.graph.producer(numbers.index)
            tensors[numbers.index, True] = changed
            tensors[numbers.index, False] = self._activate(call, changed)
        else:
            tensors[numbers.index, False] = changed
        self._continue(tensors, self._behind[numbers.index], None)
        return Pass(tensors)

    def _calls_behind(self, indices: set[int]) -> list[Call]:
        reached, found = set(indices), []
        for call in self.calls:
            if any(tensor.index in reached for tensor in call.inputs):
                found.append(call)
                reached |= {tensor.index for tensor in call.outputs}
        return found

    def _continue(
        self, tensors: dict[Key, np.ndarray], calls: Sequence[Call], change: Change | None
    ) -> None:
        for call in calls:
            received = {tensor.index: tensors[tensor.index, False] for tensor in call.inputs}
            made = self._compute(call, received, tensors, change)
            for tensor, values in zip(call.outputs, made, strict=True):
                key = (tensor.index, False)
                tensors[key] = values if change is None else change(key, values)

    def _compute(
        self,
        call: Call,
        received: Mapping[int, np.ndarray],
        tensors: dict[Key, np.ndarray],
        change: Change | None,
    ) -> tuple[np.ndarray, ...]:
        if id(call) not in self._split:
            return replay_call(call, received)
        with split_activation(call.layer):
            (before,) = replay_call(call, received)
        key = (call.output.index, True)
        tensors[key] = before if change is None else change(key, before)
        return (self._activate(call, tensors[key]),)

    def _activate(self, call: Call, before: np.ndarray) -> np.ndarray:
        dtype = keras.backend.standardize_dtype(call.layer.compute_dtype)
        given = keras.ops.convert_to_tensor(before.astype("float32"), dtype=dtype)
        return np.asarray(to_numpy(self._split[id(call)](given)), np.float64)


@contextmanager
def assigned(variable: Any, numbers: np.ndarray) -> Iterator[None]:
    """Let a variable hold other numbers within a block."""
    before = to_numpy(variable).copy()
    variable.assign(numbers.astype(before.dtype))
    try:
        yield
    finally:
        variable.assign(before)


def _holds(layer: Any, variable: Any) -> bool:
    return any(each is variable for each in getattr(layer, "weights", ()))
