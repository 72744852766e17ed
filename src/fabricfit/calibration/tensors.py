"""The numbers of a network that have a format in hls4ml's configuration: inputs, results, weights.

Some results need no bits of their own. What goes to nothing but rectifiers and sums is handed on exactly, as
it is accumulated, since rounding before and behind them costs twice; and layers that move numbers, or choose
among them, keep the format of what they receive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fabricfit.layers import family_of, scale_and_offset_of
from fabricfit.layers.activations import is_piecewise_linear
from fabricfit.layers.calls import Call
from fabricfit.layers.kernels import Kernel
from fabricfit.network.node_names import NamedCall
from fabricfit.network.reader import Network

__all__ = [
    "CalibratedCall",
    "Key",
    "Numbers",
    "Plan",
    "is_piecewise_activation",
    "kernel_of",
    "make_plan",
    "takes_sums",
]

_SUMS = ("Add", "Subtract")


Key = tuple[int, bool]
"""A tensor of the graph, and whether it is what the activation of the layer receives that makes it."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers of one format: a tensor of the network, or weights.

    Parameters
    ----------
    places
        Where hls4ml's configuration states the format: the name of a layer, and the name of the numbers
        in its precisions. Weights have as many places as their layer has calls.
    kernel
        The weights; None for a tensor.
    index
        The tensor in the network's graph, or -1.
    before_activation
        Whether it is what the activation of the layer receives that makes the tensor.
    multiplications
        What a bit of the format costs: the multipliers that it goes into; the numbers, if there are none.
    softmax
        Whether a softmax receives the tensor.
    """

    places: tuple[tuple[str, str], ...]
    kernel: Kernel | None = None
    index: int = -1
    before_activation: bool = False
    multiplications: int = 1
    softmax: bool = False

    @property
    def key(self) -> Key:
        """The tensor, and whether it is what an activation receives that makes it."""
        return self.index, self.before_activation


@dataclass(frozen=True)
class CalibratedCall:
    """A call of a layer, and how the formats of its numbers come about.

    Parameters
    ----------
    named
        The call, with hls4ml's names.
    kernel
        What it multiplies by, if that is known.
    exact
        Whether what its kernel, normalization or sum makes is handed on as it is.
    folds
        Whether hls4ml folds a batch normalization behind it into its weights.
    source
        The tensor whose format its results keep; -1 where they have a format of their own.
    quantizes
        Whether the layer itself rounds its numbers, so that nothing is stated of them.
    """

    named: NamedCall
    kernel: Kernel | None = None
    exact: bool = False
    folds: bool = False
    source: int = -1
    quantizes: bool = False


@dataclass(frozen=True)
class Plan:
    """Which numbers of a network get a format, and how.

    Parameters
    ----------
    network
        The network as hls4ml builds it.
    numbers
        Those whose bits follow from data.
    calls
        The calls, in the order in which hls4ml builds them.
    left
        Layer -> why its inner formats are not calibrated.
    """

    network: Network
    numbers: tuple[Numbers, ...]
    calls: tuple[CalibratedCall, ...]
    left: Mapping[str, str] = field(default_factory=dict)


def make_plan(network: Network, folding: frozenset[str]) -> Plan:
    """Find out which numbers of a network have a format.

    Parameters
    ----------
    network
        The network as hls4ml builds it, without the normalizations that it folds.
    folding
        Names of the layers that it folds normalizations into.
    """
    left = dict(_list_left(network))
    calls = tuple(_describe_call(network, named, left, folding) for named in _calls(network))
    weights: dict[int, Numbers] = {}
    tensors: list[Numbers] = []
    for call in calls:
        if call.kernel is not None:
            place = (call.named.node, call.kernel.weight_name)
            known = weights.get(id(call.kernel.variable))
            places = (place,) if known is None else (*known.places, place)
            size = int(np.prod(call.kernel.shape))
            weights[id(call.kernel.variable)] = Numbers(
                places, kernel=call.kernel, multiplications=size
            )
        tensors += _list_tensors(network, call, left)
    order = [name for named in _calls(network) for name in (named.node, named.activation)]
    ordered = sorted(
        (*weights.values(), *tensors), key=lambda numbers: order.index(numbers.places[0][0])
    )
    return Plan(network, tuple(ordered), calls, left)


def is_piecewise_activation(layer: Any) -> bool:
    """Return whether a layer does nothing but a piecewise linear function of every number."""
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is not keras.activations.linear and is_piecewise_linear(
            layer.activation
        )
    return isinstance(layer, keras.layers.ReLU | keras.layers.LeakyReLU | keras.layers.PReLU)


def takes_sums(layer: Any) -> bool:
    """Return whether a layer may receive numbers as they were accumulated, to add or to rectify them."""
    return is_piecewise_activation(layer) or type(layer).__name__ in _SUMS


def kernel_of(layer: Any) -> Kernel | None:
    """Return a layer's weights, where that is one kernel of floats and nothing stays inside."""
    family = family_of(layer)
    if family is None or not family.has_kernels or family.quantizes(layer):
        return None
    kernels = family.kernels(layer)
    if len(kernels) != 1 or kernels[0].inner or kernels[0].part:
        return None
    return kernels[0]


def _calls(network: Network) -> tuple[NamedCall, ...]:
    return network.node_names.calls


def _list_left(network: Network) -> Iterator[tuple[str, str]]:
    for named in _calls(network):
        layer = named.call.layer
        if _quantizes(layer):
            yield named.node, "it quantizes its own numbers"
        elif (
            getattr(layer, "weights", ())
            and kernel_of(layer) is None
            and scale_and_offset_of(layer) is None
            and not is_piecewise_activation(layer)
        ):
            kind = type(layer).__name__
            yield named.node, f"formats inside of {kind} layers have bits to spare instead"


def _quantizes(layer: Any) -> bool:
    family = family_of(layer)
    return family is not None and family.quantizes(layer)


def _describe_call(
    network: Network, named: NamedCall, left: Mapping[str, str], folding: frozenset[str]
) -> CalibratedCall:
    call, graph = named.call, network.graph
    made = call.outputs[0].index
    if named.node in left:
        return CalibratedCall(named, quantizes=_quantizes(call.layer))
    kernel = kernel_of(call.layer)
    activation = getattr(call.layer, "activation", None) if kernel is not None else None
    if activation in (None, keras.activations.linear):
        receivers = graph.receivers(made)
        exact = made not in graph.outputs and all(takes_sums(c.layer) for c in receivers)
    else:
        exact = is_piecewise_linear(activation)
    if kernel is not None:
        name = network.names.get(id(call.layer), call.name)
        return CalibratedCall(named, kernel, exact and kernel.multiplies, name in folding)
    if scale_and_offset_of(call.layer) is not None or type(call.layer).__name__ in _SUMS:
        return CalibratedCall(named, exact=exact and bool(call.inputs))
    return CalibratedCall(named, source=call.inputs[0].index if _keeps_format(call) else -1)


def _keeps_format(call: Call) -> bool:
    family = family_of(call.layer)
    if family is None or len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    return family.hands_on(call.layer) or family.keeps_grid(call.layer)


def _list_tensors(
    network: Network, call: CalibratedCall, left: Mapping[str, str]
) -> Iterator[Numbers]:
    """Yield the tensors of a call that get bits of their own."""
    named = call.named
    if call.source >= 0 or len(named.call.outputs) != 1 or named.node in left:
        return
    index = named.call.output.index
    is_split = call.kernel is not None and bool(named.activation)
    if is_split and not call.exact:
        softmax = named.call.layer.activation is keras.activations.softmax
        yield Numbers(((named.node, "result"),), None, index, True, softmax=softmax)
    if is_split or not call.exact:
        node = named.activation if is_split else named.node
        multiplied, softmax = _find_uses(network, index)
        size = math.prod(n or 1 for n in named.call.output.shape[1:])
        yield Numbers(((node, "result"),), None, index, False, multiplied or size, softmax)


def _find_uses(network: Network, index: int) -> tuple[int, bool]:
    """Return how many multipliers a tensor goes into, and whether a softmax receives it."""
    multiplied, softmax = 0, False
    for receiver in network.graph.receivers(index):
        kernel = kernel_of(receiver.layer)
        if kernel is not None:
            multiplied += int(np.prod(kernel.shape))
        elif _keeps_format(receiver):
            further = _find_uses(network, receiver.output.index)
            multiplied, softmax = multiplied + further[0], softmax or further[1]
        layer = receiver.layer
        softmax |= isinstance(layer, keras.layers.Softmax) or (
            isinstance(layer, keras.layers.Activation)
            and layer.activation is keras.activations.softmax
        )
    return multiplied, softmax
