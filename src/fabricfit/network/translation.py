"""Models with layers of PQuantML as models of HGQ2's and Keras' layers that compute the same at inference."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from fabricfit.errors import InvalidInputError
from fabricfit.layers import family_of
from fabricfit.layers.translation import Neighbours, TranslatedLayer
from fabricfit.network.cloning import copy_graph, transfer
from fabricfit.network.copying import copy_layer, every_layer
from fabricfit.network.graph import Graph, read_graph

__all__ = ["is_translated", "refuse_translated", "translated"]

logger = logging.getLogger(__name__)


def is_translated(model: keras.Model) -> bool:
    """Return whether others stand for some layers of a model when it is read."""
    return any(_stands_for(layer) for layer in every_layer(model))


def refuse_translated(model: Any) -> None:
    """Refuse a model that is to be changed itself where others stand for some of its layers.

    Raises
    ------
    InvalidInputError
        Names the first such layer.
    """
    for layer in every_layer(model) if isinstance(model, keras.Model) else ():
        if _stands_for(layer):
            raise InvalidInputError(
                f"layer {layer.name!r} ({type(layer).__name__}) is one of PQuantML, for which one of HGQ2 "
                "stands, so that the model itself cannot be changed. Use what fabricfit.load_model makes of "
                "its file."
            )


def translated(model: keras.Model) -> keras.Model:
    """Return a functional model in which layers that are known stand for layers that are not.

    Parameters
    ----------
    model
        A built Sequential or Functional model, nested models included. It is not changed.

    Returns
    -------
    keras.Model
        A new, uncompiled model that computes the same at inference; layers in the place of another begin with
        its name.

    Raises
    ------
    InvalidInputError
        No layers compute the same as some in it; names each.
    """
    around = _find_neighbours(read_graph(model))
    parts: dict[int, tuple[TranslatedLayer, ...]] = {}
    copies: list[tuple[Any, Any]] = []
    refused: dict[str, str] = {}

    def copy(layer: Any) -> Any:
        family = family_of(layer)
        if family is None or not family.is_translated:
            made = copy_layer(layer)
            copies.append((layer, made))
            return made
        made = keras.layers.Identity(name=layer.name)  # only calls what stands for the layer
        try:
            parts[id(made)] = family.translation(layer, around)
            if None in around.behind.get(id(layer), ()):
                _keep_output_name(layer.name, parts[id(made)])
        except InvalidInputError as error:
            refused[f"{layer.name!r} ({type(layer).__name__})"] = str(error)
        sources[id(made)] = layer
        return made

    sources: dict[int, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) not in sources:
            return layer(*args, **kwargs)
        results = args[0]
        if args[1:] or any(value is not None for value in kwargs.values()):
            old = sources[id(layer)]
            refused[f"{old.name!r} ({type(old).__name__})"] = (
                "it is called with more than its input"
            )
        for part in parts.get(id(layer), ()):
            results = part.layer(results)
        return results

    new = copy_graph(model, copy, call=call)
    _refuse(refused)
    for made, old in sources.items():
        for part in parts[made]:
            try:
                part.fill(part.layer)
            except InvalidInputError as error:
                refused[f"{old.name!r} ({type(old).__name__})"] = str(error)
    _refuse(refused)
    for old, made in copies:
        if isinstance(made, keras.layers.Layer) and made.built:
            transfer(made, old)
    names = sorted(layer.name for layer in sources.values())
    logger.info("layers of HGQ2 and Keras stand for those of PQuantML: %s", ", ".join(names))
    return new


def _keep_output_name(name: str, parts: Sequence[TranslatedLayer]) -> None:
    """Let the last of some layers have a name, by which a loss may know the output."""
    last = parts[-1].layer
    for part in parts[:-1]:
        if part.layer.name == name:
            part.layer.name, last.name = f"{name}_unrounded", name


def _stands_for(layer: Any) -> bool:
    family = family_of(layer)
    return family is not None and family.is_translated


def _find_neighbours(graph: Graph) -> Neighbours:
    """Return the layers around each layer of a graph and of those nested in it."""
    before: dict[int, list[Any]] = {}
    behind: dict[int, list[Any]] = {}
    for each in _list_graphs(graph):
        for call in each.calls:
            makers = before.setdefault(id(call.layer), [])
            makers += [each.producer(tensor.index).layer for tensor in call.inputs]
            receivers = behind.setdefault(id(call.layer), [])
            for tensor in call.outputs:
                receivers += [receiver.layer for receiver in each.receivers(tensor.index)]
                receivers += [None] * each.outputs.count(tensor.index)
    return Neighbours(before, behind)


def _list_graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for nested in graph.nested.values():
        yield from _list_graphs(nested)


def _refuse(reasons: dict[str, str]) -> None:
    if reasons:
        listed = "\n".join(f"- layer {name}: {reason}." for name, reason in reasons.items())
        raise InvalidInputError(
            "layers of PQuantML are read as layers of HGQ2 and Keras that compute the same, and none do for\n"
            f"{listed}"
        )
