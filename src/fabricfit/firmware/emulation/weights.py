"""The Keras model's own weights, quantized here and not by hls4ml.

So a kernel that hls4ml transposes wrongly, or a weight that it drops, shows as a difference. Only
the number formats are hls4ml's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError
from fabricfit.network.batch_norm import scale_and_offset

__all__ = ["KerasWeights", "exactly", "quantize_as_written"]

_FINEST = 24


@dataclass(frozen=True)
class KerasWeights:
    """The layers of a Keras model, found by the names of hls4ml's graph.

    Parameters
    ----------
    model
        The Keras model.
    present
        Names of the layers in hls4ml's graph.
    """

    model: Any
    present: frozenset[str]

    @cached_property
    def layers(self) -> dict[str, Any]:
        """Layers of the model by name, those of nested models included."""
        from fabricfit.network.walk import named_layers

        return named_layers(self.model)

    def layer(self, node: Any) -> Any:
        """Return the Keras layer of a node.

        Raises
        ------
        NotModelledError
            The model has no layer of the name.
        """
        try:
            return self.layers[node.name]
        except KeyError:
            raise NotModelledError(f"{node.name!r}, which is no layer of the model") from None

    def kernel(self, node: Any, part: str = "") -> FixedTensor:
        """Return a layer's quantized kernel, or one of several, in Keras' order, outputs last."""
        own, values = self._own(node, part), self._kernel_and_bias(node, part)[0]
        return self._quantized(node, own.weight_name, values, own.quantizer is not None)

    def bias(self, node: Any) -> FixedTensor:
        """Return a layer's quantized bias, zeros where it has none."""
        own, values = self._own(node), self._kernel_and_bias(node)[1]
        return self._quantized(node, "bias", values, own.bias_quantizer is not None)

    def inputs(self, node: Any, received: FixedTensor) -> FixedTensor:
        """Return a layer's inputs as its own quantizer makes them, where hls4ml put that into its code.

        So it does with HGQ2's layers and distributed arithmetic; elsewhere the quantizer is a layer of
        hls4ml's graph.
        """
        layer = self.layer(node)
        inside = getattr(layer, "enable_iq", False) and f"{layer.name}_iq" not in self.present
        if not inside or node.get_attr("strategy") != "distributed_arithmetic":
            return received
        return exactly(_numpy(layer.iq(received.to_float().astype("float32"))), "input")

    def scale_and_offset(self, node: Any) -> tuple[FixedTensor, FixedTensor]:
        """Return what a batch normalization multiplies by and adds, per channel."""
        scale, offset = scale_and_offset(self.layer(node))
        return self._quantized(node, "scale", scale), self._quantized(node, "bias", offset)

    def folded_into(self, name: str) -> list[Any]:
        """Return the batch normalizations that hls4ml folded into a layer, in their order."""
        layer = self.layers[name]
        if getattr(getattr(layer, "activation", None), "__name__", "linear") != "linear":
            return []
        found: list[Any] = []
        while True:
            after = self._after.get(id((found[-1] if found else layer).output), [])
            if len(after) != 1 or type(after[0]).__name__ != "BatchNormalization":
                return found
            if after[0].name in self.present:
                return found
            found.append(after[0])

    def unaccounted(self) -> list[str]:
        """Return the layers with weights that are neither in the graph nor folded into one."""
        kernels = [n for n, layer in self.layers.items() if hasattr(layer, "kernel")]
        folded = {f.name for n in kernels if n in self.present for f in self.folded_into(n)}
        return [
            name
            for name, layer in self.layers.items()
            if layer.weights and name not in self.present and layer.name not in folded
        ]

    @cached_property
    def _kernels(self) -> dict[str, Any]:
        from fabricfit.network.kernels import named_kernels

        return named_kernels(self.model)

    def _own(self, node: Any, part: str = "") -> Any:
        key = f"{self.layer(node).name}/{part}" if part else self.layer(node).name
        try:
            return self._kernels[key]
        except KeyError:
            raise NotModelledError(f"weights of {type(self.layer(node)).__name__} layers") from None

    def _kernel_and_bias(self, node: Any, part: str = "") -> tuple[np.ndarray, np.ndarray]:
        own = self._own(node, part)
        kernel, bias = own.used(), own.used_bias()
        bias = np.zeros(kernel.shape[-1], kernel.dtype) if bias is None else bias
        for norm in self.folded_into(node.name):
            scale, offset = scale_and_offset(norm)
            kernel, bias = scale * kernel, scale * bias + offset
        return kernel, bias

    @cached_property
    def _after(self) -> dict[int, list[Any]]:
        """Tensor id -> layers that receive it."""
        from fabricfit.network.walk import functional_graph

        after: dict[int, list[Any]] = {}
        for nodes in functional_graph(self.model)._nodes_by_depth.values():
            for node in nodes:
                for tensor in node.input_tensors:
                    after.setdefault(id(tensor), []).append(node.operation)
        return after

    def _quantized(
        self, node: Any, name: str, numbers: np.ndarray, already: bool = False
    ) -> FixedTensor:
        """Quantize numbers as hls4ml's format of them; those that are quantized must stay the same."""
        if node.get_attr("strategy") != "distributed_arithmetic":
            form = Format.of(node.get_weights(name).type.precision)
            found = quantize_as_written(numbers, form)
            if already and not np.array_equal(found.to_float(), np.asarray(numbers, np.float64)):
                raise NotModelledError(
                    "weights of a quantizer whose numbers are not those of hls4ml's format"
                )
            return found
        return exactly(numbers, name)  # hls4ml builds them into code as they are


def exactly(numbers: Any, what: str = "number") -> FixedTensor:
    """Return numbers without rounding, in the narrowest format that holds them.

    Raises
    ------
    NotModelledError
        They are no multiples of 2^-24, as weights are that were not put on a grid.
    """
    exact = np.asarray(numbers, np.float64)
    for fractional in range(_FINEST + 1):
        scaled = np.ldexp(exact, fractional)
        if (scaled == np.rint(scaled)).all():
            integer = int(np.abs(scaled).max(initial=1)).bit_length() + 1 - fractional
            return FixedTensor(scaled.astype(np.int64), Format(integer + fractional, integer))
    raise NotModelledError(
        f"distributed arithmetic with a {what} that is on no grid (fabricfit.firmware.snap_model puts it "
        "on one)"
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


def _numpy(variable: Any) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable))
