"""Preparing a model: regularizers that draw groups of weights together, with tuned strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, unknown_name
from fabricfit.keras.cloning import copy_model
from fabricfit.keras.config import DEFAULT_DIRECTORY, TMP_DIRECTORY
from fabricfit.keras.halving import candidates, halve
from fabricfit.keras.reading import check_model
from fabricfit.keras.regularization import attach_regularizers, remove_custom_regularizers
from fabricfit.keras.strengths import Tuned, uniform
from fabricfit.keras.training import (
    Dataset,
    Engine,
    Penalty,
    fresh_metric,
    fresh_optimizer,
    make_engine,
    open_data,
    resolve_loss,
)
from fabricfit.run import Keeper, RunDirectory, resolve_directory

__all__ = [
    "DEFAULT_REGULARIZATION_RANGE",
    "HyperOptimizationModel",
    "attach_regularizers",
    "build_optimizable_model",
    "remove_custom_regularizers",
]

DEFAULT_REGULARIZATION_RANGE: list[float] = np.logspace(-6, -2, num=16).tolist()
"""Strengths that are tried unless the caller gives others: 16 from 1e-6 to 1e-2, evenly in the log."""

TUNERS = ("halving", "Bayesian", "Hyperband", "Manual", None)

TRIALS = 10
"""Choices of strengths that are tried unless the caller says otherwise."""


def __getattr__(name: str) -> Any:
    if name == "HyperOptimizationModel":  # KerasTuner is optional, and slow to import
        from fabricfit.keras.tuning import HyperOptimizationModel

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
        What trials are trained and judged with: Keras objects or their names. They are not changed.
    increasing
        Whether a larger metric is better.
    train_dataset, validation_dataset
        Pairs ``(X, y)``, or anything that yields such pairs batch by batch.
    batch_size, epochs
        Samples in a step, and at most how many passes over the data a trial gets.
    verbose
        Show the tuner's own messages.
    directory
        Where the tuner writes, in a new folder of its own. The default stands for the platform's
        cache folder. Without a tuner nothing is written.
    tuner
        ``'halving'`` (see :mod:`fabricfit.keras.halving`), ``'Bayesian'`` and ``'Hyperband'``
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
    model = check_model(model)
    strengths = check_range(regularization_range)
    check_tuner(tuner)
    train, validation = open_data(train_dataset, "train"), open_data(validation_dataset, "val")
    few = validation.head(2)
    metric = fresh_metric(validation_metric, model(few.X, training=False), few.y)
    copy = copy_model(model, seed)
    engine = make_engine(copy, loss_fn, optimizer, {}, seed, Penalty(copy, attributes))
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
    attach_regularizers(copy, attributes, tuned.strengths)
    copy.compile(fresh_optimizer(optimizer), resolve_loss(loss_fn), metrics=[metric])
    return copy


def tune(
    engine: Engine,
    attributes: Mapping[str, LayerAttributes],
    metric: keras.metrics.Metric,
    judge: Callable[[Engine], float],
    data: Dataset,
    *,
    tuner: str | None,
    regularization_range: Sequence[float],
    increasing: bool,
    batch_size: int,
    epochs: int,
    directory: str | Path,
    verbose: bool = False,
    seed: int = 0,
    trials: int = TRIALS,
    keeper: Keeper | None = None,
) -> Tuned:
    """Choose strengths for an engine's penalty.

    Parameters
    ----------
    engine
        Trains the trials, from its present weights on. It comes back with weights of one of them.
    attributes
        Layer -> attributes, those of the engine's penalty.
    metric
        What the judge measures.
    judge
        Returns how good the engine's present weights are, and leaves them as they are.
    data
        Samples to train on.
    trials
        Choices that ``'halving'`` tries.
    keeper
        Saves a search by ``'halving'`` now and then.
    tuner, regularization_range, increasing, batch_size, epochs, directory, verbose, seed
        As for :func:`build_optimizable_model`.
    """
    common: dict[str, Any] = {
        "increasing": increasing,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
    }
    if tuner == "halving":
        choices = candidates(attributes, regularization_range, trials, seed)
        return halve(engine, choices, data, judge, keeper=keeper, **common)
    if tuner in ("Bayesian", "Hyperband"):
        from fabricfit.keras.tuning import HyperOptimizationModel, search

        hypermodel = HyperOptimizationModel(
            engine.model,
            attributes,
            engine.optimizer,
            engine.plain_loss,
            metric,
            regularization_range,
        )
        place = resolve_directory(directory, DEFAULT_DIRECTORY, TMP_DIRECTORY)
        return search(
            str(tuner),
            engine,
            hypermodel,
            metric,
            judge,
            data,
            verbose=verbose,
            directory=RunDirectory(place, "tuning").path,
            **common,
        )
    return Tuned(uniform(attributes, regularization_range[0]), engine.get_weights())


def check_tuner(tuner: str | None) -> str | None:
    """Return the tuner if it is one of :data:`TUNERS`."""
    if tuner not in TUNERS:
        raise unknown_name("tuner", tuner, map(str, TUNERS))
    return tuner


def check_range(regularization_range: Sequence[float]) -> list[float]:
    """Return the strengths as floats.

    Raises
    ------
    InvalidInputError
        There is none, or one is negative or not finite.
    """
    strengths = [float(value) for value in regularization_range]
    if not strengths or not all(0 <= value < float("inf") for value in strengths):
        raise InvalidInputError(
            "regularization_range must hold at least one finite number, none of them negative. "
            f"Received: {regularization_range!r}"
        )
    return strengths
