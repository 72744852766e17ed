"""Search for regularization strengths: the tuners by name, and their ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fabricfit.checks import numbers, one_of
from fabricfit.description.attributes import LayerAttributes
from fabricfit.losses import ModelMetric
from fabricfit.run import Checkpointer, RunDirectory, defaults, resolve_directory
from fabricfit.samples import Dataset
from fabricfit.training import Engine
from fabricfit.training.callbacks import show_trial
from fabricfit.training.strengths import TunedStrengths, uniform_strengths
from fabricfit.tuning.successive_halving import candidates, halve, halving_epochs

__all__ = ["TUNERS", "check_range", "check_tuner", "count_epochs", "tune"]


TUNERS = ("halving", "Bayesian", "Hyperband", "Manual", None)


def tune(
    engine: Engine,
    attributes: Mapping[str, LayerAttributes],
    metric: ModelMetric,
    evaluate: Callable[[Engine], float],
    data: Dataset,
    *,
    tuner: str | None,
    regularization_range: Sequence[float],
    increasing: bool,
    batch_size: int,
    epochs: int,
    directory: str | Path,
    verbose: bool = False,
    seed: int = defaults.SEED,
    trials: int = defaults.TRIALS,
    checkpointer: Checkpointer | None = None,
    callbacks: Sequence[Any] = (),
) -> TunedStrengths:
    """Choose the regularization strengths of an engine's penalty.

    Parameters
    ----------
    engine
        Trains the trials, from its present weights on. It comes back with weights of one of them.
    attributes
        Layer -> attributes, those of the engine's penalty.
    metric
        The metric that is evaluated.
    evaluate
        Returns the metric of the engine's present weights, in a run after pruning; does not change them.
    data
        Samples to train on.
    trials
        Choices of strengths that ``'halving'`` and ``'Bayesian'`` try.
    checkpointer
        Saves a search by ``'halving'`` after each rung, and holds the state to resume from; is told of each
        trial that is done.
    callbacks
        Keras callbacks, which see each trial as a training with one epoch.
    tuner, regularization_range, increasing, batch_size, epochs, directory, verbose, seed
        As for :func:`build_optimizable_model`.
    """
    common: dict[str, Any] = {
        "increasing": increasing,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
        "checkpointer": checkpointer,
        "watch": partial(show_trial, callbacks, engine, metric.name) if callbacks else None,
    }
    if tuner == "halving":
        choices = candidates(attributes, regularization_range, trials, seed)
        return halve(engine, choices, data, evaluate, **common)
    if tuner in ("Bayesian", "Hyperband"):
        from fabricfit.tuning.keras_tuner import HyperOptimizationModel, search

        hypermodel = HyperOptimizationModel(
            engine.model,
            attributes,
            engine.optimizer,
            engine.hard_loss,
            metric,
            regularization_range,
        )
        place = resolve_directory(directory)
        return search(
            str(tuner),
            engine,
            hypermodel,
            metric,
            evaluate,
            data,
            verbose=verbose,
            directory=RunDirectory(place, "tuning").path,
            count=trials,
            **common,
        )
    return TunedStrengths(
        uniform_strengths(attributes, regularization_range[0]), engine.get_weights()
    )


def count_epochs(tuner: str | None, epochs: int, trials: int) -> int:
    """Return how many epochs a search trains at most; 0 where that is not known, or nothing is searched for.

    Parameters
    ----------
    tuner
        One of :data:`TUNERS`.
    epochs
        Of a trial that is trained to its end.
    trials
        Choices of strengths.
    """
    if tuner == "halving":
        return halving_epochs(epochs, trials)
    return epochs * trials if tuner == "Bayesian" else 0


def check_tuner(tuner: str | None) -> str | None:
    """Return the tuner if it is one of :data:`TUNERS`."""
    found: str | None = one_of("tuner", tuner, TUNERS)
    return found


def check_range(regularization_range: Sequence[float]) -> list[float]:
    """Return the strengths as floats.

    Raises
    ------
    InvalidInputError
        There is none, or one is negative or not finite.
    """
    return numbers("regularization_range", regularization_range, least=0)
