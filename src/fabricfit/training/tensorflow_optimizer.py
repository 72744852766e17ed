"""Optimizers on TensorFlow that can be used as pure functions, as they can on other backends."""

from __future__ import annotations

import logging
from typing import Any

import keras
import tensorflow as tf

from fabricfit.losses import is_builtin
from fabricfit.training.loss_scaling import inner_optimizer
from fabricfit.training.resolve import copy_optimizer

__all__ = ["is_pure", "without_distribution"]

logger = logging.getLogger(__name__)

_DISTRIBUTED, _COMMON = (
    next(kind for kind in keras.optimizers.Optimizer.__mro__ if kind.__name__ == name)
    for name in ("TFOptimizer", "BaseOptimizer")
)


_METHODS = {
    name: getattr(_COMMON, name)
    for name in vars(_DISTRIBUTED)
    if name in vars(_COMMON) and not name.startswith("__")
}

_PURE: Any = type("_Pure", (_DISTRIBUTED,), _METHODS)
"""What TensorFlow's optimizers override, as it is for all other backends."""


def without_distribution(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return a new optimizer of the same configuration that is like those of other backends.

    On TensorFlow, Keras' optimizers change variables in place, for the sake of ``tf.distribute``.
    """
    kind = type(optimizer)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return copy_optimizer(optimizer, kind, without_distribution)
    pure: Any = type(kind.__name__, (kind, _PURE), {"__module__": kind.__module__})
    return copy_optimizer(optimizer, pure, without_distribution)


def is_pure(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether :func:`without_distribution` makes a pure function of an optimizer.

    It does not if a user's own class works on TensorFlow's variables.
    """
    optimizer = inner_optimizer(optimizer)
    if is_builtin(optimizer):
        return True
    try:
        tried, zeros = without_distribution(optimizer), tf.zeros(1)
        tried.build([keras.Variable(zeros)])
        tried.stateless_apply([v.value for v in tried.variables], [zeros], [zeros])
    except Exception as error:  # whatever a user's own class may do
        logger.info("optimizer %r is used through Keras' fit: %s", optimizer.name, error)
        return False
    return True
