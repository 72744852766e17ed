"""Optimizers of a run: its own copies, the caller's unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.network.copying import copy_object

__all__ = ["copy_optimizer", "fresh_optimizer"]


def fresh_optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    """Return a new optimizer of the same configuration, with no state.

    Raises
    ------
    InvalidInputError
        Keras knows no optimizer by this name, or it cannot be copied.
    InvalidTypeError
        It is no optimizer of Keras 3.
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        _check_rate(optimizer)
        return copy_optimizer(optimizer, type(optimizer), fresh_optimizer)
    if isinstance(optimizer, str | dict):
        try:
            return keras.optimizers.get(optimizer)
        except Exception as error:  # of several kinds, for descriptions that lack something
            raise InvalidInputError(
                f"optimizer must be one that Keras knows. Received: optimizer={spell(optimizer)}"
            ) from error
    raise InvalidTypeError(
        "optimizer must be a keras.optimizers.Optimizer of Keras 3 or its name. "
        f"Received: optimizer={spell(optimizer)}"
    )


def _check_rate(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuse a learning rate that is no number; one that follows a schedule is whatever that says."""
    rate = getattr(optimizer, "_learning_rate", None)
    if not isinstance(rate, keras.Variable):
        return
    value = float(keras.ops.convert_to_numpy(keras.ops.stop_gradient(rate.value)))
    if not 0 <= value < float("inf"):
        raise InvalidInputError(
            f"optimizer must have a learning rate of at least 0. Received: learning_rate={value}"
        )


def copy_optimizer(
    optimizer: keras.optimizers.Optimizer, kind: Any, copy_inner: Callable[[Any], Any]
) -> keras.optimizers.Optimizer:
    """Return a new optimizer of a class that has the configuration of another one.

    Parameters
    ----------
    optimizer
        What is copied.
    kind
        The class of the copy.
    copy_inner
        Copies the optimizer inside one that scales the loss.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return kind(
            copy_inner(optimizer.inner_optimizer),
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
            name=optimizer.name,
        )
    new: keras.optimizers.Optimizer = copy_object(optimizer, kind)
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        raise InvalidInputError(
            f"optimizer {optimizer.name!r} excludes variables of your model from the weight decay, and a "
            "copy of the model is trained. Exclude them by name: "
            "optimizer.exclude_from_weight_decay(var_names=[...])"
        )
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    if pattern is not None:
        new.exclude_from_weight_decay(var_names=[pattern.pattern])
    return new
