"""The model that trains its precision: a copy with a rounding at every tensor that feeds a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from fabricfit.description.precision import FixedPrecision
from fabricfit.layers.calls import Call
from fabricfit.layers.family import count_positions, family_of
from fabricfit.layers.kernels import Kernel
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network
from fabricfit.network.rewiring import rewire
from fabricfit.precision.layers import (
    DEFAULT_INNER,
    Price,
    TrainedFormat,
    TrainedProduct,
    TrainedWeights,
)

__all__ = ["PrecisionModel", "build_precision_model", "kernel_name"]


@dataclass(eq=False)
class PrecisionModel:
    """A model that trains its precision, and its parts.

    Parameters
    ----------
    network
        What was read of the model that it was made of.
    model
        The model, of the same inputs and outputs.
    price
        The price of a bit of a weight times a bit of an input.
    weights
        Layer -> the layer that rounds its weights.
    formats
        Layer -> the rounding of its input.
    rounded
        Name of each rounding -> the rounded tensors of the model, one for each call.
    makers
        Name of each rounding -> the call of the given model whose results it rounds; None where that is
        inside another model.
    skipped
        Layer -> why its weights are not rounded.
    wraps
        Whether numbers beyond a format are to wrap in hardware, inputs excepted; else they saturate.
    """

    network: Network
    model: keras.Model
    price: Price
    weights: Mapping[str, TrainedWeights]
    formats: Mapping[str, TrainedFormat]
    rounded: Mapping[str, list[Any]]
    makers: Mapping[str, Call | None]
    skipped: Mapping[str, str]
    wraps: bool = False

    @property
    def products(self) -> dict[str, TrainedProduct]:
        """Name of each kernel whose weights are rounded -> the kernel, and what it multiplies.

        The only kernel of a layer has the layer's name; one of several is named by the layer and itself,
        ``'lstm/recurrent_kernel'``.
        """
        return {
            kernel_name(name, product.kernel): product
            for name, wrapper in self.weights.items()
            for product in wrapper.products
        }

    @cached_property
    def observed(self) -> keras.Model:
        """A model of the same inputs and weights that returns :attr:`rounded`."""
        return keras.Model(self.model.inputs, dict(self.rounded))

    def observe(self, inputs: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """Return the rounded tensors of samples, by the names of their roundings, an array for each call.

        Parameters
        ----------
        inputs
            An array for each input.
        """
        found = self.observed.predict_on_batch(self.network.ends.inputs.pack(inputs))
        return {name: list(tensors) for name, tensors in found.items()}


@dataclass(eq=False)
class _Builder:
    """What is known while the graph of the copy is made.

    A tensor is rounded where it is made, so that all who receive it receive the same numbers. Layers that
    only hand numbers on are passed on the way back from a product: what they hand on is on the grid then.
    """

    network: Network
    weight_bits: float
    tensor_bits: float
    by_channel: bool
    in_parallel: bool
    limits: Mapping[int, np.ndarray]
    inner: Mapping[str, FixedPrecision]
    price: Price = field(default_factory=Price)
    wanted: set[int] = field(default_factory=set)
    sources: dict[int, TrainedFormat] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    rounded: dict[str, list[Any]] = field(default_factory=dict)
    makers: dict[str, Call | None] = field(default_factory=dict)
    by_layer: dict[int, TrainedFormat] = field(default_factory=dict)
    weights: dict[str, TrainedWeights] = field(default_factory=dict)
    formats: dict[str, TrainedFormat] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def find_wanted(self, graph: Graph) -> None:
        """Note the tensors that are to be rounded, by the ids of Keras' own."""
        made_by = {id(tensor): call for call in graph.calls for tensor in call.node.output_tensors}
        for call in graph.calls:
            if nested := graph.nested.get(call.name):
                self.find_wanted(nested)
            elif self._trains(call):
                for place in _list_received(call):
                    source = call.node.input_tensors[place]
                    while (maker := made_by.get(id(source))) and _keeps_grid(maker):
                        source = maker.node.input_tensors[0]
                    self.wanted.add(id(source))

    def begin(self, place: int, symbol: Any) -> Any:
        call = self.network.graph.producer(self.network.graph.inputs[place])
        if id(call.node.output_tensors[0]) not in self.wanted:
            return symbol
        return self._round(symbol, call.name, call, self.limits.get(place))

    def apply(self, call: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        results = self._call(call, layer, args, kwargs)
        (single, *others) = call.node.output_tensors
        if others or id(single) not in self.wanted:
            return results
        name = self.network.names.get(id(call.layer), call.name).replace("/", "_")
        return self._round(results, name, call)

    def _call(self, call: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._trains(call):
            return self._call_rounded(call, layer, args, kwargs)
        results = layer(*args, **kwargs)
        if _keeps_grid(call) and (source := self.sources.get(id(args[0]))):
            self._remember(results, source)
        return results

    def _call_rounded(
        self, call: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name = self.network.names.get(id(call.layer), call.name)
        tensors = [each for each in keras.tree.flatten((args, kwargs)) if _is_symbol(each)]
        rounded = {}
        for place in _list_received(call):
            symbol = tensors[place]
            if id(symbol) not in self.sources:  # it comes out of a nested model, or goes into one
                rounded[id(symbol)] = self._round(symbol, f"{layer.name}_input", None)
            tensors[place] = rounded.get(id(symbol), symbol)
        args, kwargs = keras.tree.map_structure(
            lambda each: rounded.get(id(each), each), (args, kwargs)
        )
        if name not in self.weights:
            if not layer.built and len(tensors) > 1:
                layer(*args, **kwargs)  # only so is it built for inputs of several shapes
            self._make_weights(name, call, layer, tensors)
        return self.weights[name](*args, **kwargs)

    def _make_weights(self, name: str, call: Call, layer: Any, tensors: list[Any]) -> None:
        kernels = _list_kernels(call)
        self.weights[name] = TrainedWeights(
            layer,
            [
                None if kernel.multiplies_inner else self.sources[id(tensors[kernel.receives or 0])]
                for kernel in kernels
            ],
            self.price,
            start=self.weight_bits,
            instances=[
                self.network.times_called[name] * self._count_copies(call, number)
                for number in range(len(kernels))
            ],
            inner=self.inner.get(name, DEFAULT_INNER),
            name=f"{layer.name}_weights",
        )
        self.formats[name] = self.weights[name].source

    def _count_copies(self, call: Call, number: int) -> int:
        """Return how many positions have products of their own."""
        shared = not self.in_parallel or _list_kernels(call)[number].one_by_one
        return 1 if shared else count_positions(call, number)

    def _trains(self, call: Call) -> bool:
        family = family_of(call.layer)
        if family is None or not family.has_kernels:
            return False
        reason = family.why_precision_stays(call.layer)
        if not reason and len(call.inputs) > 1 and not family.is_plain(call):
            reason = "it is called with more than its input tensors"
        if reason:
            self.skipped[self.network.names.get(id(call.layer), call.name)] = reason
        return not reason

    def _round(
        self, symbol: Any, name: str, call: Call | None, limits: np.ndarray | None = None
    ) -> Any:
        """Return a tensor rounded; those of a layer's several calls are rounded alike."""
        layer = None if call is None else self.by_layer.get(id(call.layer))
        if layer is None:
            channels = symbol.shape[-1] if self.by_channel else 1
            layer = TrainedFormat(
                channels, start=self.tensor_bits, limits=limits, name=f"{name}_format"
            )
            self.makers[layer.name] = call
        if call is not None:
            self.by_layer[id(call.layer)] = layer
        made = layer(symbol)
        self.rounded.setdefault(layer.name, []).append(made)
        self._remember(made, layer)
        return made

    def _remember(self, symbol: Any, source: TrainedFormat) -> None:
        self.kept.append(symbol)  # so that its id stays its own
        self.sources[id(symbol)] = source


def build_precision_model(
    network: Network,
    *,
    weight_bits: float = 4.0,
    tensor_bits: float = 3.0,
    by_channel: bool = True,
    in_parallel: bool = True,
    limits: Mapping[int, np.ndarray] | None = None,
    inner: Mapping[str, FixedPrecision] | None = None,
    wraps: bool = False,
) -> PrecisionModel:
    """Return a copy of a network's model that trains its precision.

    Parameters
    ----------
    network
        What was read of the model; its batch normalizations are folded.
    weight_bits, tensor_bits
        Fractional bits to start with.
    by_channel
        Whether each channel of a tensor has bits of its own.
    in_parallel
        Whether the positions of a convolution are computed beside each other, each with products of its own;
        else one after the other with the same ones.
    limits
        Place of an input -> the sizes at which its channels saturate, shape (channels,).
    inner
        Layer -> the number format of tensors that it makes inside itself; hls4ml's own where it is not named.
    wraps
        Whether numbers beyond a format are to wrap in hardware, inputs excepted; else they saturate.

    Raises
    ------
    InvalidInputError
        A layer cannot be copied.
    """
    builder = _Builder(
        network, weight_bits, tensor_bits, by_channel, in_parallel, limits or {}, inner or {}
    )
    builder.find_wanted(network.graph)
    model = rewire(network, builder.apply, builder.begin)
    return PrecisionModel(
        network,
        model,
        builder.price,
        builder.weights,
        builder.formats,
        builder.rounded,
        builder.makers,
        builder.skipped,
        wraps,
    )


def kernel_name(layer: str, kernel: Kernel) -> str:
    """Return what a kernel is called, given the name of its layer."""
    return f"{layer}/{kernel.part}" if kernel.part else layer


def _keeps_grid(call: Call) -> bool:
    family = family_of(call.layer)
    return (
        family is not None
        and len(call.inputs) == 1 == len(call.outputs)
        and family.keeps_grid(call.layer)
    )


def _list_kernels(call: Call) -> tuple[Kernel, ...]:
    family = family_of(call.layer)
    assert family is not None
    return family.kernels(call.layer)


def _list_received(call: Call) -> list[int]:
    """Return the inputs of a layer that its kernels multiply."""
    places = (kernel.receives or 0 for kernel in _list_kernels(call) if not kernel.multiplies_inner)
    return sorted(set(places))


def _is_symbol(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)
