"""Optimizers, metrics and mean losses of a run: its own copies, the caller's unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.network.copying import copy_object
from fabricfit.network.losses import resolve_loss

__all__ = ["copy_optimizer", "fresh_metric", "fresh_optimizer", "is_builtin", "mean_loss"]


def mean_loss(loss_fn: Any) -> Callable[[Any, Any], Any]:
    """Return a function from targets and predictions to one number.

    A function (which is what a name stands for) gives a number for each sample: their mean is used. A
    loss object reduces by its own rule. With several outputs the losses of all are added.
    """
    loss = resolve_loss(loss_fn)

    def reduced(target: Any, prediction: Any) -> Any:
        return ops.mean(loss(target, prediction))

    def total(y: Any, outputs: Any) -> Any:
        targets, predictions = keras.tree.flatten(y), keras.tree.flatten(outputs)
        if len(targets) != len(predictions):
            raise InvalidInputError(
                f"the model has {len(predictions)} output(s), so y must hold as many arrays. "
                f"Received: {len(targets)}"
            )
        return sum(reduced(t, p) for t, p in zip(targets, predictions, strict=True))

    return total


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
        return copy_optimizer(optimizer, type(optimizer), fresh_optimizer)
    if isinstance(optimizer, str | dict):
        try:
            return keras.optimizers.get(optimizer)
        except (ValueError, TypeError) as error:
            raise InvalidInputError(
                f"optimizer must be one that Keras knows. Received: optimizer={optimizer!r}"
            ) from error
    raise InvalidTypeError(
        "optimizer must be a keras.optimizers.Optimizer of Keras 3 or its name. "
        f"Received: {type(optimizer)!r}"
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


def fresh_metric(metric: Any, outputs: Any = None, y: Any = None) -> keras.metrics.Metric:
    """Return a new metric object of the same configuration and name.

    Parameters
    ----------
    metric
        A metric, its name, or a function of (y_true, y_pred).
    outputs, y
        Predictions and targets of a few samples: they decide which accuracy ``'accuracy'`` means, by
        Keras' own rule.

    Raises
    ------
    InvalidInputError
        Keras knows no metric by this name.
    InvalidTypeError
        It is no metric.
    """
    if type(metric) is keras.metrics.MeanMetricWrapper:  # its function need not be serializable
        return keras.metrics.MeanMetricWrapper(
            metric._fn, name=metric.name, dtype=metric.dtype, **metric._fn_kwargs
        )
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    if isinstance(metric, str):
        if metric.lower() in ("accuracy", "acc"):
            return _make_accuracy(metric, outputs, y)
        name = metric
        try:
            metric = keras.metrics.get(metric)
        except (ValueError, TypeError) as error:
            raise InvalidInputError(
                f"validation_metric must be one that Keras knows. Received: {metric!r}"
            ) from error
        if type(metric) is keras.metrics.Metric:  # the base of all of them, which measures nothing
            raise InvalidInputError("validation_metric must measure something. Received: 'metric'")
        if isinstance(metric, keras.metrics.Metric):
            metric.name = name  # as in the logs of Keras' fit
            return metric
    if callable(metric):
        return keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", "metric"))
    raise InvalidTypeError(
        "validation_metric must be a keras.metrics.Metric, its name, or a function of "
        f"(y_true, y_pred). Received: {type(metric)!r}"
    )


def _make_accuracy(name: str, outputs: Any, y: Any) -> keras.metrics.Metric:
    predicted, target = (tuple(np.shape(keras.tree.flatten(each)[0])) for each in (outputs, y))
    if predicted[-1:] == (1,):
        return keras.metrics.BinaryAccuracy(name=name)
    if predicted == target:
        return keras.metrics.CategoricalAccuracy(name=name)
    return keras.metrics.SparseCategoricalAccuracy(name=name)


def is_builtin(thing: Any) -> bool:
    """Whether an object is of a class, or a function, of Keras' own."""
    module = getattr(
        thing if callable(thing) and hasattr(thing, "__name__") else type(thing), "__module__", ""
    )
    return isinstance(thing, str) or module.split(".")[0] == "keras"
