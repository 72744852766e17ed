"""What is piecewise linear in a model, and where the network ends and the loss begins.

The loss is a smooth function of the last pre-activations; where all before those is piecewise
linear in any one weight, the Gauss–Newton diagonal is the diagonal of the Hessian.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from fabricfit.layers import family_of
from fabricfit.layers.activations import is_piecewise_linear
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network

__all__ = ["Head", "find_heads", "why_not_piecewise_linear"]


_PIECEWISE_LINEAR_OPERATIONS = (
    "Add",
    "Concatenate",
    "Maximum",
    "Minimum",
    "Negative",
    "Relu",
    "Relu6",
    "Reshape",
    "Subtract",
    "Transpose",
)


@dataclass(frozen=True)
class Head:
    """The end of the network at one output, where the loss begins.

    Parameters
    ----------
    layer
        The layer whose last act belongs to the loss.
    attribute
        ``'activation'`` for the layer's activation, ``'call'`` for the whole of an activation
        layer, ``None`` where the output itself is what the loss receives.
    """

    layer: Any = None
    attribute: str | None = None

    @property
    def activation(self) -> Any:
        """The function that belongs to the loss: ``keras.activations.linear`` where there is none.

        ``None`` for a layer that is not the plain form of a function.
        """
        if self.attribute is None:
            return keras.activations.linear
        family = family_of(self.layer)
        return family.function(self.layer) if family is not None else None

    def finish(self, z: Any) -> Any:
        """Return the model's output, given the network's end."""
        if self.attribute is None:
            return z
        return getattr(self.layer, self.attribute)(z)


def find_heads(graph: Graph) -> list[Head]:
    """Find where the network ends, for every output in the order of ``keras.tree.flatten``.

    A final activation moves to the loss's side unless something else in the graph uses it too.
    """
    return [_find_head(graph, output, graph.times_called) for output in graph.outputs]


def _find_head(graph: Graph, output: int, times: Mapping[int, int]) -> Head:
    call = graph.producer(output)
    last = call.layer
    again = graph.outputs.count(output) > 1
    if graph.receivers(output) or again or times[id(last)] > 1:
        return Head()
    if call.name in graph.nested:
        inner = graph.nested[call.name]
        place = [made.index for made in call.outputs].index(output)
        return _find_head(inner, inner.outputs[place], times)
    family = family_of(last)
    if family is None or family.final_activation is None:
        return Head()
    return Head(last, family.final_activation)


def why_not_piecewise_linear(network: Network | None) -> str | None:
    """Return why a model's last pre-activations are not known to be piecewise linear in any one weight.

    Conservative: what is not known to be harmless counts as an obstacle. ``None`` if there is none.

    Parameters
    ----------
    network
        The model's network; ``None`` where its graph cannot be read.
    """
    if network is None:
        return "its graph cannot be read: not a built Sequential or Functional model"
    graph = network.graph
    heads, times = find_heads(graph), graph.times_called
    layers = [call.layer for call in graph.every_call()]
    kernels = Counter(
        id(layer.kernel) for layer in layers if getattr(layer, "kernel", None) is not None
    )
    for layer in layers:
        name = f"layer {layer.name!r}"
        if times[id(layer)] > 1 and getattr(layer, "weights", None):
            return f"{name} is called {times[id(layer)]} times"
        if kernels[id(getattr(layer, "kernel", None))] > 1:
            return f"{name} shares its kernel with another layer"
        head = next((head for head in heads if head.layer is layer), None)
        reason = None if head and head.attribute == "call" else _obstacle(layer, head is not None)
        if reason:
            return f"{name} {reason}"
    return None


def _obstacle(call: Any, activation_is_free: bool) -> str | None:
    kind = type(call).__name__
    if not isinstance(call, keras.Layer):
        plain = kind in _PIECEWISE_LINEAR_OPERATIONS
        return None if plain else f"is the operation {kind}, not known to be piecewise linear"
    family = family_of(call)
    if family is None or not family.piecewise_linear:
        return f"is of the type {kind}, not known to be piecewise linear"
    activation = getattr(call, "activation", None)
    if activation_is_free or activation is None or _is_harmless(activation):
        return None
    named = getattr(activation, "__name__", type(activation).__name__)
    return f"has the activation {named!r}"


def _is_harmless(activation: Any) -> bool:
    if isinstance(activation, keras.Layer):
        return _obstacle(activation, False) is None
    return is_piecewise_linear(activation)
