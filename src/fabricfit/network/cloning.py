"""Copies of a model, which share nothing with the original."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

__all__ = ["copy_model", "every_layer", "new_inputs", "seed_generators", "uncompiled"]


def copy_model(model: keras.Model, seed: int | None = None) -> keras.Model:
    """Return an uncompiled copy of a model, with its weights and states.

    Parameters
    ----------
    model
        A built Sequential or Functional model; layers are copied through their configurations.
    seed
        Seeds the copy's Dropout and noise layers, so that training it twice is the same twice.
    """
    with uncompiled(model):
        copy = keras.models.clone_model(model, input_tensors=new_inputs(model))
    # Some layers forget their names (QKeras' recurrent ones).
    for new, old in zip(every_layer(copy), every_layer(model), strict=True):
        new.name = old.name
    for target, source in zip(copy.variables, model.variables, strict=True):
        target.assign(source)
    if seed is not None:
        seed_generators(copy, seed)
    return copy


def new_inputs(model: keras.Model) -> Any:
    """Return new inputs for a copy of a Functional model, with the names of the model's input layers.

    Keras would name them after the tensors, so that an hls4ml configuration no longer found them. None
    for a Sequential model, of which Keras keeps the name.
    """
    if isinstance(model, keras.Sequential):
        return None
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor._keras_history.operation.name
        ),
        model.input,
    )


def every_layer(model: keras.Model) -> Iterator[Any]:
    """Iterate over a model and all layers in it, those inside layers included."""
    yield from model._flatten_layers()


@contextmanager
def uncompiled(model: keras.Model) -> Iterator[None]:
    """Let Keras copy a model without its loss and metrics, which need not be serializable."""
    compiled = model.compiled
    model.compiled = False
    try:
        yield
    finally:
        model.compiled = compiled


def seed_generators(model: keras.Model, seed: int) -> None:
    """Set the state of every random generator in a model, each to its own."""
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    for number, state in enumerate(states):
        state.assign(np.array([seed, number], dtype=state.dtype))
