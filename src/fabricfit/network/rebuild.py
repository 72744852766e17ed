"""Copies of a model without some of its layers, and with others changed."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import keras

from fabricfit.layers.units import Replacement
from fabricfit.network.cloning import (
    check_copies,
    new_inputs,
    restore_model,
    transfer,
    uncompiled,
)
from fabricfit.network.copying import copy_layer

__all__ = ["rebuild"]


def rebuild(
    model: keras.Model, replacements: Mapping[int, Replacement], removed: Container[int]
) -> keras.Model:
    """Return a new, uncompiled model; the one that is given stays as it is.

    Parameters
    ----------
    model
        A built Sequential or Functional model, nested models included.
    replacements
        Id of a layer -> what changes in its configuration, and its weights.
    removed
        Ids of the layers that are left out: each hands on what it receives.

    Raises
    ------
    InvalidInputError
        A layer cannot be copied.
    """
    check_copies(model)
    made: dict[int, tuple[Any, Any]] = {}
    with uncompiled(model):
        new = _rebuild(model, replacements, removed, made)
    for old, copy in reversed(made.values()):  # the outer models first: they freeze what is in them
        if isinstance(old, keras.Model) and copy.trainable != old.trainable:
            copy.trainable = old.trainable
    for old, copy in made.values():
        if id(old) in removed or isinstance(old, keras.Model) or not hasattr(old, "get_weights"):
            continue
        change = replacements.get(id(old))
        if change is None:
            transfer(copy, old)
        else:
            copy.set_weights(change.weights)
            copy.trainable = old.trainable
    return new


def _rebuild(
    model: Any,
    replacements: Mapping[int, Replacement],
    removed: Container[int],
    made: dict[int, tuple[Any, Any]],
) -> keras.Model:
    def copy(layer: Any) -> Any:
        if id(layer) not in made:
            if isinstance(layer, keras.Model):
                new = _rebuild(layer, replacements, removed, made)
            else:
                new = copy_layer(layer, replacements.get(id(layer), Replacement()).config)
            made[id(layer)] = (layer, new)
        return made[id(layer)][1]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        old = sources.get(id(layer))
        return args[0] if old is not None and id(old) in removed else layer(*args, **kwargs)

    sources: dict[int, Any] = {}

    def copy_and_remember(layer: Any) -> Any:
        new = copy(layer)
        sources[id(new)] = layer
        return new

    if isinstance(model, keras.Sequential):
        entry = model._functional.layers[0]
        start = keras.Input(
            batch_shape=model.input_shape, dtype=model.inputs[0].dtype, name=entry.name
        )
        layers = [copy(layer) for layer in model.layers if id(layer) not in removed]
        return restore_model(keras.Sequential([start, *layers]), model)
    clone: Callable[..., keras.Model] = keras.models.clone_model
    made_anew = clone(
        model, new_inputs(model), clone_function=copy_and_remember, call_function=call
    )
    return restore_model(made_anew, model)
