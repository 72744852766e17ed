"""What the generated code computes, compared with what Keras computes.

Every layer of the model is computed by Keras from the results that the generated code gave for the layers
before it, and with the weights as they are in hardware. So the difference is that of this one layer alone; it
must be within what the layer's own number formats account for (:mod:`fabricfit.firmware.allowances`), however
coarse those of other layers are, and a layer that computes another function is found where it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fabricfit.errors import FabricFitError
from fabricfit.firmware.allowances import Allowance, allowance, last_bit
from fabricfit.firmware.emulation.fixed import FixedTensor, NotModelledError
from fabricfit.firmware.emulation.registry import result_format
from fabricfit.firmware.hardware_weights import with_hardware_weights
from fabricfit.firmware.observations import Observation, Observations
from fabricfit.firmware.simulation import Results
from fabricfit.firmware.verification_result import LayerDifference, OutputDifference
from fabricfit.layers.calls import Call
from fabricfit.network.reader import Network
from fabricfit.network.replay import replay, replay_call, split_activation

__all__ = ["KerasComparison", "compare_with_keras"]

_ANOTHER_FUNCTION = 0.25
"""Where no bound is known: a layer computes another function if it is further from Keras, root mean square,
than this fraction of the spread of Keras' own results."""

_PRECISION = {"float16": 5e-3, "bfloat16": 4e-2, "float64": 1e-6}
"""Relative error of Keras' own arithmetic."""


@dataclass
class KerasComparison:
    """What was found.

    Parameters
    ----------
    outputs
        The outputs of the model, each against Keras' on the same samples.
    differences
        The layers that differ by more than their number formats account for.
    overflows
        What overflows, as sentences.
    not_compared
        Layers that could not be compared, and why.
    """

    outputs: list[OutputDifference] = field(default_factory=list)
    differences: list[LayerDifference] = field(default_factory=list)
    overflows: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


def compare_with_keras(
    network: Network, hls_model: Any, results: Results, arrays: Sequence[np.ndarray]
) -> KerasComparison:
    """Compare the results of every layer, and of the whole model, with Keras'.

    Parameters
    ----------
    network
        What was read of the model.
    hls_model
        The model that hls4ml converted it to.
    results
        What the generated code computed.
    arrays
        The samples, an array for each input.
    """
    found = KerasComparison()
    try:
        exact = replay(network.graph, arrays)
        comparison = _Comparison.start(network, hls_model, results, arrays)
        for call, own in comparison.calls():
            comparison.compare_call(call, own, found)
    except Exception as error:  # whatever Keras says of the samples, or of a layer that is copied
        said = " ".join(str(error).split())[:300]
        return KerasComparison(
            not_compared=[f"the results could not be compared with Keras': {said}"]
        )
    for number, (wanted, observed) in enumerate(zip(exact, results.outputs, strict=True)):
        index = network.graph.outputs[number]
        found.outputs.append(comparison.compare_output(index, wanted, observed))
    return found


@dataclass
class _Comparison:
    """The comparison under way.

    Parameters
    ----------
    network, model
        The model as it is, and a copy with the weights that the hardware has.
    observed
        Results of the generated code, by the tensors of the model.
    exact
        Names of the layers whose weights in the copy are those in hardware.
    numbers
        Index of a tensor -> its numbers: those in hardware where they are known.
    expected, accounted
        Index of a tensor -> what Keras makes of the hardware's results before it, and how far the hardware
        may be from that.
    misled
        Indices of the tensors behind a layer that computes another function.
    unseen
        Index of a tensor that the generated code does not show -> the copy's call that makes it.
    """

    network: Network
    model: Network
    observed: Observations
    exact: frozenset[str]
    numbers: dict[int, np.ndarray]
    expected: dict[int, np.ndarray] = field(default_factory=dict)
    accounted: dict[int, float] = field(default_factory=dict)
    misled: set[int] = field(default_factory=set)
    unseen: dict[int, Call] = field(default_factory=dict)

    @classmethod
    def start(
        cls, network: Network, hls_model: Any, results: Results, arrays: Sequence[np.ndarray]
    ) -> _Comparison:
        model, exact = with_hardware_weights(network, hls_model)
        observed = Observations.of(network.graph, hls_model, results)
        given = dict(zip(network.graph.inputs, arrays, strict=True))
        names = zip(network.graph.inputs, hls_model.inputs, strict=True)
        nodes = {node.name: node for node in hls_model.get_layers()}
        for index, name in names:
            given[index] = _as_received(given[index], nodes.get(name))
        return cls(network, model, observed, exact, given)

    def calls(self) -> Iterator[tuple[Call, Call]]:
        """Iterate over the calls of the model with those of the copy."""
        for call, own in zip(self.network.graph.calls, self.model.graph.calls, strict=True):
            if call.inputs:
                yield call, own

    def compare_call(self, call: Call, own: Call, found: KerasComparison) -> None:
        """Compute a call from the hardware's results, compare, and go on with the hardware's."""
        largest = max(float(np.abs(self.numbers[t.index]).max(initial=0.0)) for t in call.inputs)
        first = call.outputs[0].index
        before = self.observed.before_activation.get(first)
        with split_activation(own.layer) if before is not None else nullcontext() as activation:
            made = replay_call(own, self.numbers)
            if before is not None and activation is not None:
                name = f"{call.name} before its activation"
                self._note_difference(call, own, name, made[0], before, largest, found)
        if before is not None and activation is not None:
            given = before.values.reshape(made[0].shape)
            largest = float(np.abs(given).max(initial=0.0))
            tensor = keras.ops.convert_to_tensor(given.astype(own.layer.compute_dtype))
            made = (np.asarray(keras.ops.convert_to_numpy(activation(tensor)), np.float64),)
        if any(tensor.index in self.misled for tensor in call.inputs):
            self.misled |= {tensor.index for tensor in call.outputs}
        wrong = len(found.differences)
        for tensor, values in zip(call.outputs, made, strict=True):
            observation = self.observed.results.get(tensor.index)
            if observation is not None:
                error = self._note_difference(
                    call, own, call.name, values, observation, largest, found
                )
                self.expected[tensor.index] = values
                if error is not None:
                    self.accounted[tensor.index] = error
                values = observation.values.reshape(values.shape)
            else:
                self.unseen[tensor.index] = own
            self.numbers[tensor.index] = values
        if len(found.differences) > wrong:
            after = (c for t in call.outputs for c in self.network.graph.receivers(t.index))
            self.misled |= {tensor.index for each in after for tensor in each.outputs}

    def compare_output(
        self, index: int, wanted: np.ndarray, observed: np.ndarray
    ) -> OutputDifference:
        """Compare an output with Keras', computed from the model's own inputs."""
        off = np.abs(observed.reshape(wanted.shape) - wanted)
        accounted = None
        if index in self.accounted.keys() - self.misled:
            formats = np.abs(self.expected[index] - wanted) + self.accounted[index]
            accounted = float(np.max(formats, initial=0.0))
        return OutputDifference(
            self.network.graph.producer(index).name,
            float(off.max(initial=0.0)),
            float(np.sqrt(np.mean(off**2))),
            accounted,
        )

    def _sum_absolutes(self, own: Call, like: np.ndarray) -> np.ndarray:
        """Return the sums of the absolute products of a call, back to what was observed."""
        absolute = {}
        for tensor in own.inputs:
            maker = self.unseen.get(tensor.index)
            numbers = np.abs(self.numbers[tensor.index])
            absolute[tensor.index] = (
                numbers if maker is None else self._sum_absolutes(maker, numbers)
            )
        return _replay_absolutes(own, absolute).reshape(like.shape)

    def _note_difference(
        self,
        call: Call,
        own: Call,
        name: str,
        expected: np.ndarray,
        seen: Observation,
        largest: float,
        found: KerasComparison,
    ) -> float | None:
        """Note a difference that the number formats do not account for; return what they do."""
        known = _join_allowances(
            [allowance(node, largest, call.name in self.exact) for node in seen.nodes]
        )
        precision = _PRECISION.get(str(getattr(own.layer, "compute_dtype", "")), 1e-5)
        slack = precision * max(1.0, float(np.abs(expected).max(initial=0.0)), largest)
        observed = seen.values.reshape(expected.shape)
        off = np.abs(observed - expected)
        allowed = (known.error or 0.0) + slack
        over, format = _find_overflows(expected, known)
        if known.products and ((off > allowed) & ~over).any():
            partial, format_of_sums = _find_overflows(self._sum_absolutes(own, expected), known)
            over, format = over | partial, format or format_of_sums
        if (overflowing := int((over & (off > allowed)).sum())) > 0:
            found.overflows.append(
                f"layer {name!r}: {overflowing} of {over.size} results are beyond {format}, or the sums in "
                "it are: give it more integer bits"
            )
        rest = ~over
        if known.error is not None:
            beyond = (off > allowed) & rest
            if beyond.any():
                found.differences.append(
                    LayerDifference(
                        name, int(beyond.sum()), beyond.size, float(off[beyond].max()), allowed
                    )
                )  # fmt: skip
            return allowed
        unit = last_bit(known.held[0][0]) if known.held else 0.0
        allowed = _ANOTHER_FUNCTION * float(expected[rest].std()) if rest.any() else 0.0
        allowed += 4 * unit + slack + 0.02 * float(np.abs(expected).max(initial=0.0))
        typical = float(np.sqrt(np.mean(off[rest] ** 2))) if rest.any() else 0.0
        if typical > allowed:
            found.differences.append(
                LayerDifference(name, int(rest.sum()), rest.size, float(off[rest].max()), allowed)
            )
        return None


def _as_received(array: np.ndarray, node: Any) -> np.ndarray:
    """Return an input as the hardware reads it."""
    if node is None:
        return array
    try:
        return FixedTensor.from_float(array, result_format(node)).to_float()
    except (NotModelledError, FabricFitError):
        return array


def _join_allowances(parts: list[Allowance]) -> Allowance:
    """Return what nodes one after the other account for, the last one first."""
    if len(parts) == 1:
        return parts[0]
    if not parts or any(p.error is None for p in parts) or sum(p.products for p in parts) > 1:
        return Allowance(None, parts[0].held if parts else ())
    error = 2.0 * sum(p.error or 0.0 for p in parts)
    held = tuple(each for part in parts for each in part.held)
    return Allowance(error, held, math.inf, any(p.products for p in parts))


def _find_overflows(exact: np.ndarray, known: Allowance) -> tuple[np.ndarray, str]:
    """Return which results are beyond a number format that they pass through, and the first such format."""
    over, first = np.zeros(exact.shape, bool), ""
    for format, factor in known.held:
        low, high = (limit * last_bit(format) for limit in format.limits)
        margin = (known.error or 0.0) + last_bit(format)
        # What is negative wraps in an unsigned format.
        least = low + margin if format.signed else -(known.error or 0.0)
        beyond = (exact * factor < least) | (exact * factor > high - margin)
        first = first or (str(format) if beyond.any() else "")
        over |= beyond
    if math.isfinite(known.reach):
        beyond = np.abs(exact) > known.reach - 1
        first = first or ("its table" if beyond.any() else "")
        over |= beyond
    return over, first


def _replay_absolutes(own: Call, absolute: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return what a call makes of absolute inputs by absolute weights: no partial sum is larger."""
    layer = own.layer
    present = layer.get_weights()
    try:
        for variable in layer.weights:
            sign = -1 if variable.name == "moving_mean" else 1  # a mean is subtracted
            variable.assign(sign * keras.ops.abs(variable.value))
        with split_activation(layer):
            return replay_call(own, absolute)[0]
    finally:
        layer.set_weights(present)
