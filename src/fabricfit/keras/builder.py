"""Group regularizers on a model, with tuned regularization strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import read
from fabricfit.run.defaults import REGULARIZATION_RANGE as DEFAULT_REGULARIZATION_RANGE
from fabricfit.run.files import DEFAULT_DIRECTORY
from fabricfit.samples import Door, open_data
from fabricfit.training import (
    Penalty,
    fresh_optimizer,
    make_engine,
)
from fabricfit.tuning.attach import attach_regularizers, remove_custom_regularizers
from fabricfit.tuning.search import check_range, check_tuner, tune

__all__ = [
    "DEFAULT_REGULARIZATION_RANGE",
    "HyperOptimizationModel",
    "attach_regularizers",
    "build_optimizable_model",
    "remove_custom_regularizers",
]


def __getattr__(name: str) -> Any:
    if name == "HyperOptimizationModel":  # KerasTuner is optional, and slow to import
        from fabricfit.tuning.keras_tuner import HyperOptimizationModel

        return HyperOptimizationModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build_optimizable_model(
    model: keras.Model,
    attributes: Mapping[str, LayerAttributes],
    optimizer: Any,
    loss_fn: Any,
    validation_metric: Any,
    increasing: bool,
    train_dataset: Any,
    validation_dataset: Any,
    batch_size: int,
    epochs: int,
    verbose: bool = False,
    directory: str = DEFAULT_DIRECTORY,
    tuner: str | None = "Bayesian",
    regularization_range: Sequence[float] = DEFAULT_REGULARIZATION_RANGE,
    *,
    seed: int = 0,
) -> keras.Model:
    """Return a copy of a model with group regularizers on its optimizable layers.

    Parameters
    ----------
    model
        A built Sequential or Functional model. It is not changed.
    attributes
        Layer -> attributes. Layers with ``optimizable`` set are regularized: by the groups' norms
        where they may be pruned, by their variances where they may be shared.
    optimizer, loss_fn, validation_metric
        What trials are trained and evaluated with: Keras objects or their names. They are not changed.
    increasing
        Whether a larger metric is better.
    train_dataset, validation_dataset
        ``(X, y)`` or ``(X, y, weights)``, each part in any structure that Keras accepts, or anything that
        yields such batch by batch: see :func:`fabricfit.samples.open_data`.
    batch_size, epochs
        Samples in a step, and at most how many passes over the data a trial gets.
    verbose
        Show the tuner's own messages.
    directory
        Where the tuner writes, in a new folder of its own. The default stands for the platform's
        cache folder. Without a tuner nothing is written.
    tuner
        ``'halving'`` (see :mod:`fabricfit.tuning.successive_halving`), ``'Bayesian'`` and ``'Hyperband'``
        (KerasTuner, extra ``tuner``) choose a strength for every layer by the metric on the
        **validation** data. ``'Manual'`` and ``None`` do not search: every layer gets the first value
        of the range.
    regularization_range
        Strengths to choose from, at least 0.
    seed
        Seeds the search and the training of trials.

    Returns
    -------
    keras.Model
        Compiled, with the best trial's weights (the model's own without a search).
        :func:`remove_custom_regularizers` makes it plain again.

    Raises
    ------
    InvalidInputError
        An argument is out of range, or the data do not suit the model.
    MissingExtraError
        A tuner was named and KerasTuner is not installed.
    """
    model = read(model).model
    strengths = check_range(regularization_range)
    check_tuner(tuner)
    network = read(copy_model(model, seed))
    outputs, door = network.ends.outputs, Door(network.ends)
    loss, metric = ModelLoss(loss_fn, outputs=outputs), ModelMetric(validation_metric, outputs)
    train = open_data(train_dataset, "train", door)
    validation = open_data(validation_dataset, "val", door)
    engine = make_engine(network, loss, optimizer, {}, seed, Penalty(network, attributes))
    tuned = tune(
        engine,
        attributes,
        metric,
        lambda each: each.evaluate(validation, metric),
        train,
        tuner=tuner,
        regularization_range=strengths,
        increasing=increasing,
        batch_size=batch_size,
        epochs=epochs,
        verbose=verbose,
        directory=directory,
        seed=seed,
    )
    engine.set_weights(tuned.weights)
    copy = attach_regularizers(network.model, attributes, tuned.strengths)
    optimizer = fresh_optimizer(optimizer)
    copy.compile(optimizer, **loss.for_compile(), metrics=metric.for_compile())
    return copy
