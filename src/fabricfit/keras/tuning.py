"""Choosing regularization strengths with KerasTuner (extra ``tuner``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, require
from fabricfit.keras.cloning import copy_model
from fabricfit.keras.regularization import attach_regularizers
from fabricfit.keras.training import (
    Dataset,
    Penalty,
    TrainingDivergedError,
    better,
    fresh_metric,
    fresh_optimizer,
    make_engine,
    resolve_loss,
    train,
)

keras_tuner = require("keras_tuner", "tuner", "Tuning the regularization strengths")
require("six", "tuner", "KerasTuner")

__all__ = ["HyperOptimizationModel", "search"]

BAYESIAN_TRIALS = 10
"""Trials of a Bayesian search."""


class HyperOptimizationModel(keras_tuner.HyperModel):  # type: ignore[name-defined]
    """A model whose regularization strengths are KerasTuner's hyperparameters.

    Parameters
    ----------
    model
        A built Sequential or Functional model. It is not changed.
    attributes
        Layer -> attributes; layers with ``optimizable`` set are regularized.
    optimizer, loss_fn, validation_metric
        What trials are compiled with: Keras objects or their names.
    regularization_range
        Strengths to choose from: ``<layer>_alpha`` for the norms of layers that may be pruned,
        ``<layer>_beta`` for the variances of those that may be shared.
    """

    def __init__(
        self,
        model: keras.Model,
        attributes: Mapping[str, LayerAttributes],
        optimizer: Any,
        loss_fn: Any,
        validation_metric: Any,
        regularization_range: Sequence[float],
    ) -> None:
        super().__init__()
        self.model = model
        self.attributes = attributes
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.validation_metric = validation_metric
        self.regularization_range = list(regularization_range)

    def strengths(self, hp: Any) -> dict[str, tuple[float, float]]:
        """Return the strengths that ``hp`` chooses: layer -> ``(alpha, beta)``, 0 where there is none."""
        values = self.regularization_range

        def choose(name: str, wanted: bool) -> float:
            if not wanted:
                return 0.0
            return float(hp.Choice(name, values=values, default=values[len(values) // 2]))

        chosen = {}
        for name, layer in self.attributes.items():
            settings = layer.optimization_attributes
            if layer.optimizable and settings is not None:
                alpha = choose(f"{name}_alpha", settings.pruning)
                chosen[name] = (alpha, choose(f"{name}_beta", settings.weight_sharing))
        return chosen

    def build(self, hp: Any) -> keras.Model:
        """Return a compiled copy of the model with the strengths that ``hp`` chooses."""
        strengths = self.strengths(hp)
        model = attach_regularizers(copy_model(self.model), self.attributes, strengths)
        metric = self.validation_metric
        if not isinstance(metric, str):
            metric = fresh_metric(metric)
        model.compile(fresh_optimizer(self.optimizer), resolve_loss(self.loss_fn), metrics=[metric])
        return model


def search(
    tuner: str,
    model: keras.Model,
    attributes: Mapping[str, LayerAttributes],
    optimizer: Any,
    loss_fn: Any,
    validation_metric: Any,
    increasing: bool,
    data: Dataset,
    validation: Dataset,
    *,
    batch_size: int,
    epochs: int,
    verbose: bool,
    directory: Path,
    regularization_range: Sequence[float],
    seed: int,
) -> keras.Model:
    """Search for strengths; return the best trial's model, trained.

    The arguments are those of :func:`fabricfit.keras.builder.build_optimizable_model`.
    """
    hypermodel = HyperOptimizationModel(
        model, attributes, optimizer, loss_fn, validation_metric, regularization_range
    )
    few = validation.head(2)
    metric = fresh_metric(validation_metric, model(few.X, training=False), few.y)
    trials = _Trials(hypermodel, metric, increasing, data, validation, batch_size, seed)
    objective = keras_tuner.Objective(f"val_{metric.name}", "max" if increasing else "min")
    kinds: dict[str, Callable[..., Any]] = {"Bayesian": _bayesian, "Hyperband": _hyperband}
    found = kinds[tuner](
        trials,
        epochs,
        hypermodel=hypermodel,
        objective=objective,
        seed=seed + 1,  # KerasTuner takes 0 for no seed
        overwrite=True,
        directory=str(directory),
        project_name=tuner.lower(),
    )
    with warnings.catch_warnings():
        # Few trials of a few strengths: the Gaussian process need not converge to be of use.
        warnings.filterwarnings("ignore", module="sklearn", message=".*close to the specified.*")
        found.search(epochs=epochs, verbose=int(verbose))
    return trials.best_model()


class _Trials:
    """Trains trials in the backend's fast way and remembers the best one."""

    def __init__(
        self,
        hypermodel: HyperOptimizationModel,
        metric: keras.metrics.Metric,
        increasing: bool,
        data: Dataset,
        validation: Dataset,
        batch_size: int,
        seed: int,
    ) -> None:
        self.hypermodel = hypermodel
        self.metric = metric
        self.increasing = increasing
        self.data = data
        self.validation = validation
        self.batch_size = batch_size
        self.seed = seed
        self.best: tuple[float, Any, list[np.ndarray]] | None = None
        model = copy_model(hypermodel.model, seed)
        # One engine for all trials: the strengths are inputs of its compiled step.
        penalty = Penalty(model, hypermodel.attributes)
        self._engine = make_engine(
            model, hypermodel.loss_fn, hypermodel.optimizer, {}, seed, penalty
        )
        self._start = self._engine.get_weights()
        self._weights: dict[str, list[np.ndarray]] = {}

    def run(self, trial: Any, epochs: int) -> dict[str, float]:
        """Train one trial for some epochs; return its metric."""
        values, engine = trial.hyperparameters.values, self._engine
        # Hyperband goes on with a trial of an earlier round.
        engine.set_weights(self._weights.get(values.get("tuner/trial_id", ""), self._start))
        engine.reset_optimizer()
        engine.penalty.assign(self.hypermodel.strengths(trial.hyperparameters))
        try:
            phase = train(
                engine,
                self.data,
                self.validation,
                self.metric,
                increasing=self.increasing,
                epochs=values.get("tuner/epochs", epochs) - values.get("tuner/initial_epoch", 0),
                batch_size=self.batch_size,
                rng=np.random.default_rng(self.seed),  # trials differ by their strengths alone
                keep_best=False,
            )
        except TrainingDivergedError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        weights = engine.get_weights()
        if "tuner/epochs" in values:
            self._weights[trial.trial_id] = weights
        if self.best is None or better(phase.metric, self.best[0], self.increasing):
            self.best = (phase.metric, trial.hyperparameters, weights)
        return {f"val_{self.metric.name}": phase.metric}

    def best_model(self) -> keras.Model:
        """Return the best trial's model, with its strengths and its trained weights."""
        if self.best is None:
            raise InvalidInputError(
                "every trial of the tuner diverged: lower the learning rate or "
                "regularization_range."
            )
        _, hyperparameters, weights = self.best
        model = self.hypermodel.build(hyperparameters)
        for variable, value in zip(model.variables, weights, strict=True):
            variable.assign(value)
        return model


def _bayesian(trials: _Trials, epochs: int, **options: Any) -> Any:
    require("sklearn", "tuner", "The Bayesian tuner")

    class Bayesian(keras_tuner.BayesianOptimization):  # type: ignore[name-defined]
        def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
            return trials.run(trial, epochs)

    return Bayesian(max_trials=BAYESIAN_TRIALS, **options)


def _hyperband(trials: _Trials, epochs: int, **options: Any) -> Any:
    class Hyperband(keras_tuner.Hyperband):  # type: ignore[name-defined]
        def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
            return trials.run(trial, epochs)

    return Hyperband(max_epochs=epochs, **options)
