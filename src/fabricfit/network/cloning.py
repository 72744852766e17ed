"""Copies of a model, which share nothing with the original but the functions in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.network.copy_check import check_layers, check_results, has_own_layers
from fabricfit.network.copying import copy_layer, every_layer
from fabricfit.network.graph import find_functional

__all__ = [
    "check_copies",
    "copy_graph",
    "copy_model",
    "every_layer",
    "new_inputs",
    "own_steps",
    "restore_model",
    "seed_generators",
    "transfer",
    "uncompiled",
]

_STEPS = ("train_step", "compute_loss")
"""Methods that say what a model learns, and how."""


def copy_model(model: keras.Model, seed: int | None = None) -> keras.Model:
    """Return an uncompiled copy of a model, with its weights and states.

    Parameters
    ----------
    model
        A built Sequential or Functional model; layers are copied by
        :func:`~fabricfit.network.copying.copy_layer`.
    seed
        Seeds the copy's Dropout and noise layers, so that training it twice is the same twice.

    Raises
    ------
    InvalidInputError
        A layer cannot be copied, or its copy does not compute the same.
    """
    copy = copy_graph(model)
    transfer(copy, model)
    check_results(copy, model)
    if seed is not None:
        seed_generators(copy, seed)
    return copy


def copy_graph(
    model: keras.Model,
    copy: Callable[[Any], Any] = copy_layer,
    made: dict[int, Any] | None = None,
    call: Callable[..., Any] | None = None,
) -> keras.Model:
    """Return a model of the same layers, connected in the same way, with new weights.

    Parameters
    ----------
    model
        A built Sequential or Functional model; those nested in it are copied layer by layer, too.
    copy
        Returns the copy of a layer.
    made
        Copies that there are already, by the ids of their layers: a layer in several places stays one layer.
    call
        Calls the copy of a layer, given it and the arguments; the copy is called itself by default.
        Sequential models become functional ones with it.
    """
    made = {} if made is None else made

    def copy_once(layer: Any) -> Any:
        if id(layer) not in made:
            nested = isinstance(layer, (keras.Sequential, keras.Function))
            made[id(layer)] = copy_graph(layer, copy, made, call) if nested else copy(layer)
        return made[id(layer)]

    if call is not None:
        model = find_functional(model)
    with uncompiled(model):
        new = keras.models.clone_model(
            model,
            input_tensors=new_inputs(model),
            clone_function=copy_once,
            call_function=call,
        )
    return restore_model(new, model)


def check_copies(model: keras.Model) -> None:
    """Refuse a model with layers of the user's own of which a copy would lose something.

    Raises
    ------
    InvalidInputError
        Names the layer.
    """
    if has_own_layers(model):
        copy_model(model)


def transfer(copy: Any, original: Any) -> None:
    """Give a copy the names, weights and states of its original, and freeze what is frozen in it.

    Parameters
    ----------
    copy, original
        Models or layers that are built.

    Raises
    ------
    InvalidInputError
        They do not have the same layers and weights.
    """
    pairs = check_layers(copy, original)
    for new, old in pairs:  # the outer ones first: they set what is inside them
        new.name = old.name
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    for target, source in zip(copy.variables, original.variables, strict=True):
        # Keras on JAX would share the memory, and give that of one away when it trains the other.
        target.assign(keras.ops.copy(keras.ops.convert_to_tensor(source)))
        if target.trainable != source.trainable:
            target.trainable = source.trainable
    for new, _ in pairs:
        if hasattr(new, "finalize_state"):  # what a layer computes from its weights
            new.finalize_state()


def restore_model(copy: Any, model: Any) -> keras.Model:
    """Give a copy its original's name, dtype policy and class, where Keras has made a plain one.

    Raises
    ------
    InvalidInputError
        The model trains by methods of its own, which the copy cannot have.
    """
    copy.name = model.name
    copy.dtype_policy = model.dtype_policy
    if type(copy) is not type(model):
        _restore_class(copy, model)
    return copy


def _restore_class(copy: Any, model: Any) -> None:
    kind = type(model)
    if isinstance(model, keras.Sequential) and kind.__init__ is keras.Sequential.__init__:
        copy.__class__ = kind
        return
    if lost := own_steps(model):
        raise InvalidInputError(
            f"model {model.name!r} ({kind.__name__}) has a {lost[0]} of its own, which a copy would not "
            f"have, since its class cannot be made from inputs and outputs. Let {kind.__name__}.__init__ "
            "take (inputs, outputs, name), as that of keras.Model does."
        )


def own_steps(model: keras.Model) -> list[str]:
    """Return which of Keras' methods that train a model its class has replaced."""
    return [name for name in _STEPS if getattr(type(model), name) is not getattr(keras.Model, name)]


def new_inputs(model: keras.Model) -> Any:
    """Return new inputs for a copy of a Functional model, with the names of the model's input layers.

    Keras would name them after the tensors, so that an hls4ml configuration no longer found them. None
    for a Sequential model, of which Keras keeps the name.
    """
    if isinstance(model, keras.Sequential):
        return None
    return keras.tree.map_structure(_new_input, model.input)


def _new_input(tensor: Any) -> Any:
    layer = tensor._keras_history.operation
    return keras.Input(
        batch_shape=tensor.shape,
        dtype=tensor.dtype,
        sparse=tensor.sparse,
        name=layer.name,
        optional=getattr(layer, "optional", False),
    )


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
