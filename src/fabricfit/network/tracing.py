"""Subclassed models as functional ones: their ``call``, run once on symbols instead of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from fabricfit.errors import InvalidInputError
from fabricfit.network.cloning import copy_graph, own_steps, transfer
from fabricfit.network.copy_check import check_results
from fabricfit.network.copying import copy_layer

__all__ = ["is_functional", "traced"]


def is_functional(model: Any) -> bool:
    """Return whether a model is a Sequential or Functional one, built or not."""
    return isinstance(model, (keras.Sequential, keras.Function))


def traced(model: keras.Model, argument: str = "model") -> keras.Model:
    """Return a functional model that computes what a subclassed one computes at inference.

    Parameters
    ----------
    model
        A subclassed model that has been called on data. Its ``call`` takes one argument beside
        ``training`` and ``mask``, and works with layers and ``keras.ops``; models inside it are
        functional or like it. It is not touched: layers and weights are copied.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidInputError
        It was not called yet, trains by a ``train_step`` of its own, or cannot be run on symbols.
    """
    kind = f"{argument} {model.name!r} is a subclassed model ({type(model).__name__})"
    instead = "Build it with the functional API: keras.Model(inputs, outputs)."
    if own := own_steps(model):
        raise InvalidInputError(
            f"{kind} with a {own[0]} of its own, which a copy of its graph would not have. {instead}"
        )
    shapes = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not shapes:
        raise InvalidInputError(
            f"{kind} whose shapes are not known. Call it on a batch of data before it is optimized; if it "
            f"has been, its call cannot be run on symbols. {instead}"
        )
    with _removed_nodes(model):
        try:
            inputs = _make_inputs(model, shapes)
            plain = keras.Model(inputs, model.call(inputs), name=model.name)
            copy = copy_graph(plain, _copy_layer)
        except InvalidInputError:
            raise
        except Exception as error:  # whatever the user's code does with symbols
            raise InvalidInputError(
                f"{kind}, whose call cannot be run on symbols. {instead} It says: {error}"
            ) from error
        _transfer_each(copy, plain)
        check_results(copy, plain)
    return copy


def _copy_layer(layer: Any) -> Any:
    return traced(layer, "model") if isinstance(layer, keras.Model) else copy_layer(layer)


def _transfer_each(copy: keras.Model, original: keras.Model) -> None:
    """Give the layers of a copy their weights; models that were traced have theirs."""
    for new, old in zip(copy.layers, original.layers, strict=True):
        if is_functional(old):
            _transfer_each(new, old)
        elif isinstance(new, keras.layers.Layer) and not isinstance(old, keras.Model):
            transfer(new, old)


def _make_inputs(model: keras.Model, shapes: Any) -> Any:
    """Return inputs in the structure in which the model was called, of any number of samples."""
    numbers = iter(range(1, 1000))

    def one(shape: Any) -> Any:
        return keras.Input(tuple(shape)[1:], name=f"{model.name}_input_{next(numbers)}")

    if isinstance(shapes, dict):
        return {key: one(shape) for key, shape in shapes.items()}
    if isinstance(shapes[0], (list, tuple)):
        return [one(shape) for shape in shapes]
    return one(shapes)


@contextmanager
def _removed_nodes(model: keras.Model) -> Iterator[None]:
    """Take away from layers what symbols leave in them."""
    kept = [
        (nodes, len(nodes))
        for layer in model._flatten_layers()
        for nodes in (layer._inbound_nodes, layer._outbound_nodes)
    ]
    try:
        yield
    finally:
        for nodes, count in kept:
            del nodes[count:]
