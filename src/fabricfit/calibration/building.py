"""hls4ml's configuration of formats, and the formats of all numbers that follow from those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from fabricfit.calibration.products import sum_formats
from fabricfit.calibration.ranges import Range
from fabricfit.calibration.statements import Statements
from fabricfit.calibration.tables import (
    average_formats,
    scaling_formats,
    table_formats,
    table_options,
)
from fabricfit.calibration.tensors import (
    CalibratedCall,
    Key,
    Numbers,
    Plan,
    is_piecewise_activation,
)
from fabricfit.firmware import QuantizedNetwork
from fabricfit.firmware.emulation.fixed import NotModelledError
from fabricfit.layers import scale_and_offset_of
from fabricfit.layers.activations import is_piecewise_linear
from fabricfit.layers.units import to_numpy
from fabricfit.network.reader import Network
from fabricfit.precision.formats import TensorFormat

__all__ = ["Builder", "Built", "find_tabulated"]

_SPARE = 16
"""Fractional bits of layers whose inner formats are not calibrated."""

_TABLE_INTEGER = 5
"""Integer bits of tables of such layers."""

_ENTRIES = 1024
"""Entries of hls4ml's tables, unless more are asked for."""

Place = tuple[str, str]


@dataclass(frozen=True)
class Built:
    """A network in hls4ml's number formats.

    Parameters
    ----------
    config
        The configuration.
    quantized
        The network that hls4ml makes of it.
    derived
        Formats that follow from others: of accumulators and biases, by layer and kind of number.
    """

    config: dict[str, Any]
    quantized: QuantizedNetwork
    derived: dict[Place, TensorFormat]


@dataclass(frozen=True)
class Builder:
    """Makes hls4ml's configuration of formats.

    Parameters
    ----------
    network
        The network as it was given.
    plan
        Which numbers have a format.
    statements
        What is stated already.
    ranges
        The numbers that occur in each tensor.
    backend
        hls4ml's backend.
    """

    network: Network
    plan: Plan
    statements: Statements
    ranges: Mapping[Key, Range]
    backend: str

    def build(
        self, numbers: Sequence[Numbers], formats: Sequence[TensorFormat], attempt: int = 0
    ) -> Built:
        """Convert the network with formats, and once more with those that follow from them.

        Parameters
        ----------
        numbers, formats
            Numbers, and the format of each.
        attempt
            How often this was not enough: tables grow with it.
        """
        stated = {
            place: str(format)
            for each, format in zip(numbers, formats, strict=True)
            for place in each.places
        }
        by_index = {
            each.index: format
            for each, format in zip(numbers, formats, strict=True)
            if each.kernel is None and not each.before_activation
        }
        options: dict[Place, Any] = {}
        for call in self.plan.calls:
            self._state(call, by_index, stated, options, attempt)
        first = self._convert(stated, options)
        derived = self._find_sums(first.quantized, stated)
        if not derived:
            return first
        return replace(self._convert(stated, options), derived=derived)

    def _state(
        self,
        call: CalibratedCall,
        formats: dict[int, TensorFormat],
        stated: dict[Place, str],
        options: dict[Place, Any],
        attempt: int,
    ) -> None:
        """State the formats of a call beside those of its results and weights."""
        named, layer = call.named, call.named.call.layer
        if named.node in self.plan.left:
            if not call.quantizes:
                formats |= self._leave(call, stated)
                options[named.node, "table_t"] = str(TensorFormat(_SPARE, _TABLE_INTEGER, True))
                if attempt:
                    options[named.node, "TableSize"] = _ENTRIES << attempt
            return
        index = named.call.outputs[0].index
        if call.kernel is not None and call.kernel.multiplies:
            stated |= {(named.node, "accum"): "auto", (named.node, "bias"): "auto"}
        if call.exact:
            stated[named.node, "result"] = "auto"
        if call.source >= 0:
            self._keep(call, formats, stated)
        result, received = formats.get(index), _first_received(call, formats)
        if scale_and_offset_of(layer) is not None and call.kernel is None:
            given = self.ranges[named.call.inputs[0].index, False]
            bits = self._bits_behind(index, formats)
            for key, text in scaling_formats(layer, bits, max(-given.least, given.largest)):
                stated[named.node, key] = text
        if "AveragePooling" in type(layer).__name__ and result is not None and received is not None:
            for key, text in average_formats(named.call, received, result.fractional):
                stated[named.node, key] = text
        function = find_tabulated(layer)
        if function is not None and result is not None:
            node = named.activation if call.kernel is not None else named.node
            channels = int(named.call.output.shape[-1] or 1)
            for key, text in table_formats(function, result, channels):
                (options if key.endswith("_t") else stated)[node, key] = text
            options |= {(node, key): n for key, n in table_options(function, result, attempt)}

    def _keep(
        self, call: CalibratedCall, formats: dict[int, TensorFormat], stated: dict[Place, str]
    ) -> None:
        """State the format of what a layer receives for its results."""
        node, format = call.named.node, formats.get(call.source)
        own = self.statements.find(node, "result")
        if "Pooling" in type(call.named.call.layer).__name__:
            stated[node, "accum"] = "auto"
        stated[node, "result"] = "auto" if format is None else str(format)
        kept = format if own is None else TensorFormat(own.fractional, own.integer, own.signed)
        if kept is not None:
            formats[call.named.call.output.index] = kept

    def _leave(self, call: CalibratedCall, stated: dict[Place, str]) -> dict[int, TensorFormat]:
        """State a format with bits to spare for all that a layer makes inside itself."""
        named = call.named
        sizes = [
            max(-found.least, found.largest)
            for tensor in (*named.call.inputs, *named.call.outputs)
            if (found := self.ranges.get((tensor.index, False))) is not None
        ]
        sizes += [float(np.abs(to_numpy(each)).max(initial=0)) for each in named.call.layer.weights]
        integer = int(np.ceil(np.log2(max([*sizes, 1.0])))) + 3
        format = TensorFormat(_SPARE, integer, True)
        stated[named.node, "default"] = str(format)
        return {tensor.index: format for tensor in named.call.outputs}

    def _bits_behind(self, index: int, formats: Mapping[int, TensorFormat]) -> int:
        """Return the fractional bits of a tensor, or most of those that it is rounded to behind it."""
        if index in formats:
            return formats[index].fractional
        behind = (call.output.index for call in self.plan.network.graph.receivers(index))
        return max((self._bits_behind(each, formats) for each in behind), default=_SPARE)

    def _find_sums(
        self, quantized: QuantizedNetwork, stated: dict[Place, str]
    ) -> dict[Place, TensorFormat]:
        """State the formats of accumulators and biases, given what hls4ml passes to each layer."""
        nodes = {node.name: node for node in quantized.graph.get_layers()}
        found: dict[Place, TensorFormat] = {}
        for call in self.plan.calls:
            name = call.named.node
            if call.kernel is None or not call.kernel.multiplies or name not in nodes:
                continue
            weight = self.statements.find(name, call.kernel.weight_name)
            if weight is None:
                weight = Statements.read(stated[name, call.kernel.weight_name])
            received = nodes[name].get_input_variable().type.precision
            try:
                bias, sums = sum_formats(call, received, weight, self.statements.find(name, "bias"))
            except NotModelledError:
                continue
            found[name, "accum"] = sums
            stated[name, "accum"] = str(sums.plain)
            if call.exact and not call.folds:
                stated[name, "result"] = str(sums.plain)
            if bias is not None:
                found[name, "bias"] = bias
                stated[name, "bias"] = str(bias)
        return found

    def _convert(self, stated: Mapping[Place, str], options: Mapping[Place, Any]) -> Built:
        config = self.statements.with_formats(stated, options)
        return Built(config, QuantizedNetwork(self.network, config, self.backend), {})


def _first_received(
    call: CalibratedCall, formats: Mapping[int, TensorFormat]
) -> TensorFormat | None:
    received = call.named.call.inputs
    return formats.get(received[0].index) if received else None


def find_tabulated(layer: Any) -> Any:
    """Return the function that a layer reads from tables; None where there is none."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.activations.softmax
    function = getattr(layer, "activation", None)
    if function is None or is_piecewise_linear(function) or is_piecewise_activation(layer):
        return None
    return function
