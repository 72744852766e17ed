"""Networks of layers that round nothing themselves, each of one product: those that train number formats."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from fabricfit.errors import InvalidInputError
from fabricfit.layers import family_of
from fabricfit.layers.calls import Call
from fabricfit.layers.plain_layers import QUANTIZING, PlainLayer
from fabricfit.network.reader import Network, read
from fabricfit.network.rewiring import rewire

__all__ = ["PlainNetwork", "list_quantizing", "make_plain"]

logger = logging.getLogger(__name__)

_UNKNOWN = "fabricfit knows no layers of Keras that compute the same"

Parts = Mapping[int, tuple[PlainLayer, ...]]


@dataclass(frozen=True)
class PlainNetwork:
    """A network of plain layers.

    Parameters
    ----------
    network
        That of a new, uncompiled model; the one that was given where all of its layers are plain.
    parts
        Name of a layer that is another one now -> the names of the layers in its place, if any.
    """

    network: Network
    parts: Mapping[str, tuple[str, ...]]


def list_quantizing(network: Network) -> list[str]:
    """Return the names of the layers that round weights or tensors to number formats of their own."""
    return [name for name, layer in network.layers.items() if _quantizes(layer)]


def make_plain(network: Network) -> PlainNetwork:
    """Return a network of the same function, but for what its layers round, whose layers round nothing.

    Quantized layers become the layers of Keras that they quantize, with their weights as floats; quantizers
    that stand by themselves are dropped; separable convolutions become a depthwise convolution and one of
    kernel size 1 behind it, under the separable one's name.

    Parameters
    ----------
    network
        What was read of a model, which is not changed.

    Raises
    ------
    InvalidInputError
        A layer rounds numbers, and no layers of Keras that can be trained compute the same; names each.
    """
    found: dict[int, tuple[PlainLayer, ...]] = {}
    refused: dict[str, str] = {}
    for name, layer in network.layers.items():
        try:
            parts = _find_parts(network, layer)
        except InvalidInputError as error:
            refused[name] = str(error)
            continue
        if parts is not None:
            found[id(layer)] = parts
    _refuse(network, refused)
    if not found:
        return PlainNetwork(network, {})
    names = _name_parts(network, found)
    made = read(_rewire(network, found))
    _refuse(network, _list_untrained(network, found))
    logger.info("now plain layers of Keras: %s", ", ".join(sorted(names)))
    return PlainNetwork(made, names)


def _find_parts(network: Network, layer: Any) -> tuple[PlainLayer, ...] | None:
    """Return what stands for a layer; None where it stands for itself."""
    family = family_of(layer)
    parts = None if family is None else family.plain_layers(layer)
    if parts is None:
        if _quantizes(layer):
            raise InvalidInputError(_UNKNOWN)
        return None
    calls = [call for call in network.graph.every_call() if call.layer is layer]
    if all(call.plain and len(call.outputs) == 1 for call in calls):
        return parts
    if _quantizes(layer):
        raise InvalidInputError(
            "it is called with more than its inputs, or returns several tensors"
        )
    return None


def _quantizes(layer: Any) -> bool:
    family = family_of(layer)
    if family is None:
        return type(layer).__module__.partition(".")[0] in QUANTIZING
    return family.quantizes(layer)


def _name_parts(network: Network, found: Parts) -> dict[str, tuple[str, ...]]:
    """Name the new layers by the names that layers have in the network, each by one of its own."""
    used = {each.replace("/", "_") for each in network.layers}
    names = {}
    for name, layer in network.layers.items():
        if id(layer) not in found:
            continue
        own = name.replace("/", "_")
        for part in found[id(layer)]:
            wanted = own + part.layer.name.removeprefix(layer.name)
            while wanted in used and wanted != own:
                wanted += "_"
            used.add(wanted)
            part.layer.name = wanted
        names[name] = tuple(part.layer.name for part in found[id(layer)])
    return names


def _rewire(network: Network, found: Parts) -> keras.Model:
    ends = {id(network.graph.producer(index).node) for index in network.graph.outputs}

    def apply(call: Call, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        parts = found.get(id(call.layer))
        if parts is None:
            return layer(*args, **kwargs)
        results = args[0]
        for part in parts:
            if not (part.rectifies and _is_positive(results)):
                results = part.layer(results)
        if results is args[0] and id(call.node) in ends:  # a loss may go by the name of the output
            results = keras.layers.Activation("linear", name=call.name)(results)
        return results

    model = rewire(network, apply, lambda _, symbol: symbol, found)
    for parts in found.values():
        for part in parts:
            if part.weights:
                part.layer.set_weights(part.weights)
    return model


def _is_positive(symbol: Any) -> bool:
    """Return whether a tensor has no negative numbers, as far as is known, or is an input as it is given."""
    layer, node, _ = symbol._keras_history
    if isinstance(layer, keras.layers.InputLayer):
        return True
    if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope:
        return True
    if getattr(layer, "activation", None) is keras.activations.relu:
        return True
    family = family_of(layer)
    inputs = layer._inbound_nodes[node].input_tensors
    return family is not None and family.keeps_grid(layer) and all(map(_is_positive, inputs))


def _list_untrained(network: Network, found: Parts) -> dict[str, str]:
    """Return quantized layers whose formats would be lost: why those of a plain layer are not trained."""
    reasons = {}
    for name, layer in network.layers.items():
        for part in found.get(id(layer), ()) if _quantizes(layer) else ():
            family = family_of(part.layer)
            if family is not None and family.has_kernels:
                reason = family.why_precision_stays(part.layer)
                if reason:
                    reasons[name] = f"of a plain {type(part.layer).__name__}: {reason}"
    return reasons


def _refuse(network: Network, reasons: Mapping[str, str]) -> None:
    if reasons:
        listed = "\n".join(
            f"- layer {name!r} ({type(network.layers[name]).__name__}): {reason}"
            for name, reason in reasons.items()
        )
        raise InvalidInputError(
            "precision='trained' trains number formats anew: it needs layers that compute the same without "
            f"quantizers, and has none for\n{listed}\n"
            "Use others in their place, or keep the formats that they have, with precision='given'."
        )
