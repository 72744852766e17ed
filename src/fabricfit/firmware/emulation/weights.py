"""Weights of the Keras model, quantized independently of hls4ml.

A kernel that hls4ml transposes wrongly, or a weight that it drops, is then seen as a difference. Only the
number formats are hls4ml's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError, cast_each
from fabricfit.firmware.emulation.wires import Wires
from fabricfit.layers import hands_on, scale_and_offset_of
from fabricfit.layers.hgq import is_quantizer
from fabricfit.layers.scaling import is_linear
from fabricfit.network.reader import Network

__all__ = ["KerasWeights", "exactly", "quantize_as_written"]

_MAX_FRACTIONAL_BITS = 24


@dataclass(frozen=True)
class KerasWeights:
    """The layers of a Keras model, found by the names of hls4ml's graph.

    Parameters
    ----------
    network
        The Keras model as data.
    present
        Names of the layers in hls4ml's graph.
    off_grid
        Kernel or bias -> how many of its numbers the hardware's format cannot represent; filled as they are
        asked for.
    """

    network: Network
    present: frozenset[str]
    off_grid: dict[str, int] = field(default_factory=dict)

    @property
    def layers(self) -> Mapping[str, Any]:
        """Layers of the model by name, those of nested models included."""
        return self.network.layers

    @cached_property
    def split(self) -> Mapping[str, tuple[Any, str]]:
        """Nodes that hls4ml made of a layer of two products, such as a separable one -> layer, kernel."""
        return {
            node: (self.layers[name], kernel.part)
            for key, kernel in self.network.grouped_kernels.items()
            if kernel.part and (name := key.removesuffix(f"/{kernel.part}")) in self.layers
            if (node := f"{name}_{kernel.weight_name}") in self.present and name not in self.present
        }

    def layer(self, node: Any) -> Any:
        """Return the Keras layer of a node.

        Raises
        ------
        NotModelledError
            The model has no layer of the name.
        """
        found = self.find(node.name)
        if found is None:
            raise NotModelledError(f"{node.name!r}, which is no layer of the model")
        return found

    def find(self, node: str) -> Any:
        """Return the Keras layer that hls4ml built a node for, given its name; None where there is none."""
        named = self.network.node_names.by_node.get(node)
        if named is not None:
            return named.call.layer
        return self.split[node][0] if node in self.split else self.layers.get(node)

    def multiplies_results(self, node: Any) -> bool:
        """Whether a node is the second product of a layer, of kernel size 1 whatever the layer's own is."""
        return node.name in self.split and not self._find_kernel(node).inner

    def kernel(self, node: Any, part: str = "") -> FixedTensor:
        """Return a layer's quantized kernel, or one of several, in Keras' order, outputs last."""
        own, values = self._find_kernel(node, part), self.kernel_as_given(node, part)
        split = node.name in self.split
        name = node.name if split else self.layer(node).name
        weight = "weight" if split else own.weight_name
        label = f"{name}/{part}" if part else name
        return self._quantize(node, weight, values, label, own.quantizer is not None)

    def kernel_as_given(self, node: Any, part: str = "") -> np.ndarray:
        """Return a kernel before it is quantized, normalizations that hls4ml folds into it included."""
        return self._fold_kernel_and_bias(node, part)[0]

    def bias(self, node: Any) -> FixedTensor:
        """Return a layer's quantized bias, zeros where it has none."""
        own, values = self._find_kernel(node), self._fold_kernel_and_bias(node)[1]
        label = f"{self.layer(node).name}, bias"
        return self._quantize(node, "bias", values, label, own.bias_quantizer is not None)

    def bias_rows(self, node: Any, part: str = "") -> list[FixedTensor]:
        """Return the quantized bias of a kernel, each of its rows by itself; none where it has none."""
        own, label = self._find_kernel(node, part), f"{self.layer(node).name}/{part}, bias"
        bias = own.used_bias()
        if bias is None:
            return []
        rows = bias if len(own.bias_names) > 1 else [bias]
        quantized = own.bias_quantizer is not None
        return [
            self._quantize(node, name, row, label, quantized)
            for name, row in zip(own.bias_names, rows, strict=True)
        ]

    def bias_as_given(self, node: Any) -> np.ndarray:
        """Return a layer's bias before it is quantized, in its own shape; the number 0 where it has none.

        Raises
        ------
        NotModelledError
            Its axes are others than those of the results that its kernel makes.
        """
        bias = self._find_kernel(node).used_bias()
        if bias is None and getattr(self.layer(node), "bias", None) is not None:
            raise NotModelledError("a bias along other axes than those of the kernel")
        return np.zeros(()) if bias is None else bias

    def quantized(self, node: Any, name: str, numbers: np.ndarray) -> FixedTensor:
        """Return weights that are no kernel, such as slopes, in hls4ml's format, given its name for them."""
        return self._quantize(node, name, numbers, f"{self.layer(node).name}, {name}")

    def inputs(self, node: Any, received: FixedTensor) -> FixedTensor:
        """Return a layer's inputs after its own quantizer, where hls4ml computes it inside the layer.

        That is so for HGQ2's quantizers with distributed arithmetic, those of a layer and those in front of
        one; elsewhere the quantizer is a layer of hls4ml's graph.
        """
        quantizer = self._find_quantizer_inside(node)
        if quantizer is None or node.get_attr("strategy") != "distributed_arithmetic":
            return received
        if isinstance(received.values, Wires):
            return _quantize_signals(quantizer, received)
        return exactly(_to_numpy(quantizer(received.to_float().astype("float32"))), "input")

    def _find_quantizer_inside(self, node: Any) -> Any:
        layer = self.layer(node)
        if getattr(layer, "enable_iq", False):
            return None if f"{layer.name}_iq" in self.present else layer.iq
        named = self.network.node_names.by_node.get(node.name)
        makers = () if named is None else named.makers
        if len(makers) != 1 or not is_quantizer(makers[0].layer):
            return None
        return None if makers[0].name in self.present else makers[0].layer

    def scale_and_offset(self, node: Any) -> tuple[FixedTensor, FixedTensor]:
        """Return what a batch normalization multiplies by and adds, per channel."""
        found = scale_and_offset_of(self.layer(node))
        if found is None:
            raise NotModelledError("batch normalizations of another axis than the last one")
        scale, offset = found
        label = self.layer(node).name
        return (
            self._quantize(node, "scale", scale, f"{label}, scale"),
            self._quantize(node, "bias", offset, f"{label}, offset"),
        )

    def folded_into(self, name: str) -> list[Any]:
        """Return the batch normalizations that hls4ml folded into a node, in their order."""
        layer, part = self.split.get(name, (None, ""))
        if layer is not None and self._kernel_of(layer, part).inner:
            return []
        named = self.network.node_names.by_node.get(name if layer is None else layer.name)
        if named is None or not is_linear(named.call.layer):
            return []
        found: list[Any] = []
        call, nodes = named.call, {id(n.call): n.node for n in self.network.node_names.calls}
        while len(receivers := named.graph.receivers(call.output.index)) == 1:
            call = receivers[0]
            if nodes.get(id(call)) in self.present or len(call.outputs) != 1:
                break
            if scale_and_offset_of(call.layer) is not None:
                found.append(call.layer)
            elif not hands_on(call.layer):
                break
        return found

    def unaccounted(self) -> list[str]:
        """Return the layers with weights that are neither in the graph nor folded into one."""
        calls = self.network.node_names.calls
        kernels = [*self.split, *(c.node for c in calls if hasattr(c.call.layer, "kernel"))]
        folded = {id(f) for n in kernels if n in self.present for f in self.folded_into(n)}
        there = {
            id(c.call.layer) for c in calls if c.node in self.present or is_quantizer(c.call.layer)
        } | {id(layer) for layer, _ in self.split.values()}
        return [
            name
            for name, layer in self.layers.items()
            if layer.weights and id(layer) not in (there | folded) and name not in self.present
        ]

    def _find_kernel(self, node: Any, part: str = "") -> Any:
        return self._kernel_of(self.layer(node), part or self.split.get(node.name, (None, ""))[1])

    def _kernel_of(self, layer: Any, part: str) -> Any:
        name = self.network.names.get(id(layer), layer.name)
        key = f"{name}/{part}" if part else name
        if key not in self.network.grouped:
            raise NotModelledError(f"weights of {type(layer).__name__} layers")
        return self.network.kernels[key]

    def _fold_kernel_and_bias(self, node: Any, part: str = "") -> tuple[np.ndarray, np.ndarray]:
        own = self._find_kernel(node, part)
        kernel, bias = own.used(), own.used_bias()
        bias = np.zeros(own.axes.n_units, kernel.dtype) if bias is None else bias
        for norm in self.folded_into(node.name):
            scaled = scale_and_offset_of(norm)
            assert scaled is not None, "no other layer is folded"
            kernel = own.axes.scaled_columns(kernel, scaled[0])
            bias = scaled[0] * bias + scaled[1]
        return kernel, bias

    def _quantize(
        self, node: Any, name: str, numbers: np.ndarray, label: str, already: bool = False
    ) -> FixedTensor:
        """Quantize numbers to hls4ml's format of them, which must not change those that a quantizer made."""
        if node.get_attr("strategy") == "distributed_arithmetic":
            return exactly(numbers, name)  # hls4ml builds them into code as they are
        variable = node.get_weights(name)
        form = Format.of(variable.type.precision)
        found = quantize_as_written(numbers, form)
        off = found.to_float() != np.asarray(numbers, np.float64)
        if already and off.any():
            raise NotModelledError(
                "weights of a quantizer whose numbers are not those of hls4ml's format"
            )
        if not off.any():
            return found
        self.off_grid[label] = int(off.sum())
        return _take_neighbours(found, off, variable, node)


def _quantize_signals(quantizer: Any, received: FixedTensor) -> FixedTensor:
    """Quantize signals of a circuit by the formats of a quantizer, which are those that it computes with."""
    inner = quantizer.quantizer
    shape = (1, *received.shape[1:])
    signed, integer, fractional = (
        np.broadcast_to(_to_numpy(part), shape)[0].ravel().astype(np.int64) for part in inner.kif
    )
    formats = np.stack([signed, signed + integer + fractional, signed + integer], axis=1)
    whole = int((signed + integer).max())
    to = Format(max(whole + int(fractional.max()), 1), whole, bool(signed.any()))
    modes = str(inner.round_mode).upper(), str(inner.overflow_mode).upper()
    return cast_each(received, formats, modes, to)


def _take_neighbours(found: FixedTensor, off: np.ndarray, variable: Any, node: Any) -> FixedTensor:
    """Take hls4ml's number for a weight off the grid where it is the other one right beside it.

    hls4ml may have folded a normalization in another order of operations, so that a weight between two
    numbers of the format is rounded to the other one.
    """
    written: np.ndarray = np.asarray(variable.data, np.float64)
    if node.get_attr("_weights_transposed") and written.ndim > 1:
        written = np.moveaxis(written, 0, -1)
    if written.size != found.values.size:
        return found
    theirs = quantize_as_written(written.reshape(found.shape), found.format).values
    near = off & (np.abs(theirs - found.values) == 1)
    return FixedTensor(np.where(near, theirs, found.values), found.format)


def exactly(numbers: Any, what: str = "number") -> FixedTensor:
    """Return numbers without rounding, in the narrowest format that represents them.

    Raises
    ------
    NotModelledError
        They are not multiples of 2^-24, as weights that were not quantized.
    """
    exact = np.asarray(numbers, np.float64)
    for fractional in range(_MAX_FRACTIONAL_BITS + 1):
        scaled = np.ldexp(exact, fractional)
        if (scaled == np.rint(scaled)).all():
            integer = int(np.abs(scaled).max(initial=1)).bit_length() + 1 - fractional
            return FixedTensor(scaled.astype(np.int64), Format(integer + fractional, integer))
    raise NotModelledError(
        f"distributed arithmetic with a {what} that is not on the hardware grid "
        "(fabricfit.firmware.quantize_to_grid quantizes it)"
    )


def quantize_as_written(numbers: Any, format: Format) -> FixedTensor:
    """Quantize weights as a project does that reads them from hls4ml's files.

    hls4ml writes a weight with as many decimals as its format has fractional bits. A multiple of the
    last bit survives that exactly; any other number is rounded to those decimals before the format's
    own rounding, which makes a difference only right below a multiple of the last bit.
    """
    exact = np.asarray(numbers, np.float64)
    scaled = np.ldexp(exact, format.fractional)
    off = scaled != np.rint(scaled)
    if off.any():
        decimals = max(0, format.fractional)
        exact = exact.copy()
        exact[off] = list(_decimals(exact[off], decimals))
    return FixedTensor.from_float(exact, format)


def _decimals(numbers: Iterable[float], decimals: int) -> Iterable[float]:
    return (float(f"{number:.{decimals}f}") for number in numbers)


def _to_numpy(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
