"""Search for regularization strengths with KerasTuner (extra ``tuner``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError, require
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.cloning import copy_model
from fabricfit.network.ends import read_ends
from fabricfit.run import Checkpointer, defaults
from fabricfit.samples import Dataset
from fabricfit.training import Engine, better, fresh_optimizer
from fabricfit.training.strengths import Strengths, Trial, TunedStrengths, regularized_layers
from fabricfit.tuning.attach import attach_regularizers
from fabricfit.tuning.successive_halving import WatchTrial

keras_tuner = require("keras_tuner", "tuner", "Tuning the regularization strengths")
require("six", "tuner", "KerasTuner")

__all__ = ["HyperOptimizationModel", "search"]


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

    def strengths(self, hp: Any) -> Strengths:
        """Return the strengths that ``hp`` chooses: layer -> ``(alpha, beta)``, 0 where there is none."""
        values = self.regularization_range

        def choose(name: str, wanted: bool) -> float:
            if not wanted:
                return 0.0
            return float(hp.Choice(name, values=values, default=values[len(values) // 2]))

        return {
            name: (choose(f"{name}_alpha", pruning), choose(f"{name}_beta", sharing))
            for name, (pruning, sharing) in regularized_layers(self.attributes).items()
        }

    def build(self, hp: Any) -> keras.Model:
        """Return a compiled copy of the model with the strengths that ``hp`` chooses."""
        strengths = self.strengths(hp)
        model = attach_regularizers(copy_model(self.model), self.attributes, strengths)
        outputs, loss, metric = read_ends(model).outputs, self.loss_fn, self.validation_metric
        loss = loss if isinstance(loss, ModelLoss) else ModelLoss(loss, outputs=outputs)
        metric = metric if isinstance(metric, ModelMetric) else ModelMetric(metric, outputs)
        optimizer = fresh_optimizer(self.optimizer)
        model.compile(optimizer, **loss.for_compile(), metrics=metric.for_compile())
        return model


def search(
    tuner: str,
    engine: Engine,
    hypermodel: HyperOptimizationModel,
    metric: ModelMetric,
    evaluate: Callable[[Engine], float],
    data: Dataset,
    *,
    increasing: bool,
    batch_size: int,
    epochs: int,
    verbose: bool,
    directory: Path,
    seed: int,
    count: int = defaults.TRIALS,
    checkpointer: Checkpointer | None = None,
    watch: WatchTrial | None = None,
) -> TunedStrengths:
    """Search for strengths with a tuner of KerasTuner.

    Parameters
    ----------
    tuner
        ``'Bayesian'`` or ``'Hyperband'``.
    engine
        Trains all trials: the strengths are inputs of its compiled step.
    hypermodel
        Names the hyperparameters.
    metric
        The metric that is evaluated.
    evaluate
        Returns the metric of the engine's present weights.
    data, increasing, batch_size, epochs, verbose, directory, seed
        As for :func:`fabricfit.keras.builder.build_optimizable_model`.
    count
        Trials of ``'Bayesian'``; ``'Hyperband'`` has as many as its rule gives for ``epochs``.
    checkpointer
        Is told of each trial that is done.
    watch
        Called with each trial that is done.
    """
    trials = _Trials(engine, hypermodel, metric, evaluate, increasing, data, batch_size, seed)
    trials.checkpointer, trials.watch = checkpointer, watch
    objective = keras_tuner.Objective(f"val_{metric.name}", "max" if increasing else "min")
    kinds: dict[str, Callable[..., Any]] = {
        "Bayesian": _make_bayesian,
        "Hyperband": _make_hyperband,
    }
    found = kinds[tuner](
        trials,
        epochs,
        count,
        hypermodel=hypermodel,
        objective=objective,
        seed=seed + 1,  # for KerasTuner, 0 is no seed
        overwrite=True,
        directory=str(directory),
        project_name=tuner.lower(),
    )
    with warnings.catch_warnings():
        # Few trials of a few strengths: the Gaussian process is useful before it converges.
        warnings.filterwarnings("ignore", module="sklearn", message=".*close to the specified.*")
        found.search(epochs=epochs, verbose=int(verbose))
    return trials.result()


class _Trials:
    """Trains trials in the backend's fast way and remembers the best one."""

    def __init__(
        self,
        engine: Engine,
        hypermodel: HyperOptimizationModel,
        metric: ModelMetric,
        evaluate: Callable[[Engine], float],
        increasing: bool,
        data: Dataset,
        batch_size: int,
        seed: int,
    ) -> None:
        self.engine = engine
        self.hypermodel = hypermodel
        self.metric = metric
        self.evaluate = evaluate
        self.increasing = increasing
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.best: list[np.ndarray] | None = None
        self.trials: list[Trial] = []
        self.checkpointer: Checkpointer | None = None
        self.watch: WatchTrial | None = None
        self._trained = 0
        self._start = engine.get_weights()
        self._weights: dict[str, list[np.ndarray]] = {}

    def run(self, trial: Any, epochs: int) -> dict[str, float]:
        """Train one trial for some epochs; return its metric."""
        values, engine = trial.hyperparameters.values, self.engine
        strengths = self.hypermodel.strengths(trial.hyperparameters)
        # Hyperband continues a trial of an earlier round.
        engine.set_weights(self._weights.get(values.get("tuner/trial_id", ""), self._start))
        engine.reset_optimizer()
        engine.penalty.assign(strengths)
        rng = np.random.default_rng(self.seed)  # trials differ by their strengths alone
        total = values.get("tuner/epochs", epochs)
        loss = metric = 0.0
        count = total - values.get("tuner/initial_epoch", 0)
        for _ in range(count):
            loss = engine.train_epoch(self.data, self.data.order(rng), self.batch_size)
        self._trained += count
        if self.checkpointer is not None:
            self.checkpointer.mark("trial", epochs=self._trained)
        metric = self.evaluate(engine) if np.isfinite(loss) else np.nan
        if self.watch is not None:
            self.watch(number=len(self.trials), epochs=total, loss=loss, metric=metric)
        if not np.isfinite(metric):
            self.trials.append(Trial(strengths, total, np.nan))
            raise keras_tuner.errors.FailedTrialError("the loss or the metric is not finite")
        weights = engine.get_weights()
        if "tuner/epochs" in values:
            self._weights[trial.trial_id] = weights
        best = next((each for each in self.trials if each.chosen), None)
        is_best = best is None or better(metric, best.metric, self.increasing)
        if is_best:
            self.best = weights
            self.trials = [replace(each, chosen=False) for each in self.trials]
        self.trials.append(Trial(strengths, total, metric, is_best))
        return {f"val_{self.metric.name}": metric}

    def result(self) -> TunedStrengths:
        """Return the best trial's strengths and trained weights."""
        if self.best is None:
            raise InvalidInputError(
                "every trial of the tuner diverged: lower the learning rate or "
                "regularization_range."
            )
        chosen = next(trial for trial in self.trials if trial.chosen)
        return TunedStrengths(chosen.strengths, self.best, tuple(self.trials))


def _make_bayesian(trials: _Trials, epochs: int, count: int, **options: Any) -> Any:
    require("sklearn", "tuner", "The Bayesian tuner")

    class Bayesian(keras_tuner.BayesianOptimization):  # type: ignore[name-defined]
        def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
            return trials.run(trial, epochs)

    return Bayesian(max_trials=count, **options)


def _make_hyperband(trials: _Trials, epochs: int, count: int, **options: Any) -> Any:
    class Hyperband(keras_tuner.Hyperband):  # type: ignore[name-defined]
        def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
            return trials.run(trial, epochs)

    return Hyperband(max_epochs=epochs, **options)
