"""Preparing a model: regularizers that draw groups of weights together, with tuned strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, unknown_name
from fabricfit.keras.cloning import copy_model
from fabricfit.keras.config import DEFAULT_DIRECTORY, TMP_DIRECTORY
from fabricfit.keras.reading import check_model
from fabricfit.keras.regularization import attach_regularizers, remove_custom_regularizers
from fabricfit.keras.training import fresh_metric, fresh_optimizer, open_data, resolve_loss
from fabricfit.run import RunDirectory, resolve_directory

__all__ = [
    "DEFAULT_REGULARIZATION_RANGE",
    "HyperOptimizationModel",
    "attach_regularizers",
    "build_optimizable_model",
    "remove_custom_regularizers",
]

DEFAULT_REGULARIZATION_RANGE: list[float] = np.logspace(-6, -2, num=16).tolist()
"""Strengths that are tried unless the caller gives others: 16 from 1e-6 to 1e-2, evenly in the log."""

TUNERS = ("Bayesian", "Hyperband", "Manual", None)


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
        ``'Bayesian'`` or ``'Hyperband'`` (KerasTuner, extra ``tuner``) choose a strength for every
        layer by the metric on the **validation** data. ``'Manual'`` and ``None`` do not search: every
        layer gets the first value of the range.
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
    check_model(model)
    strengths = check_range(regularization_range)
    check_tuner(tuner)
    train, validation = open_data(train_dataset, "train"), open_data(validation_dataset, "val")
    if tuner in ("Bayesian", "Hyperband"):
        from fabricfit.keras.tuning import search

        place = resolve_directory(directory, DEFAULT_DIRECTORY, TMP_DIRECTORY)
        tuned = search(
            str(tuner),
            model,
            attributes,
            optimizer,
            loss_fn,
            validation_metric,
            increasing,
            train,
            validation,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            directory=RunDirectory(place, "tuning").path,
            regularization_range=strengths,
            seed=seed,
        )
    else:
        tuned = attach_regularizers(
            copy_model(model, seed),
            attributes,
            dict.fromkeys(attributes, (strengths[0], strengths[0])),
        )
    few = validation.head(2)
    outputs = tuned(few.X, training=False)
    tuned.compile(
        fresh_optimizer(optimizer),
        resolve_loss(loss_fn),
        metrics=[fresh_metric(validation_metric, outputs, few.y)],
    )
    return tuned


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
