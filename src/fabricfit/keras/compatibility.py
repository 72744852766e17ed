"""The historical entry points, as thin skins over :func:`fabricfit.optimization.optimize.optimize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.network.describe import get_attributes_from_keras_model_and_hls4ml_config
from fabricfit.network.finite import open_network
from fabricfit.objectives import ObjectiveLike
from fabricfit.optimization.arguments import check_attributes, check_scheduler
from fabricfit.optimization.compiled_settings import read_settings
from fabricfit.optimization.optimize import run, sparsity_target
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import set_up
from fabricfit.run import defaults
from fabricfit.run.files import DEFAULT_DIRECTORY
from fabricfit.scheduler import OptimizationScheduler

__all__ = ["optimize_keras_model_for_hls4ml", "optimize_model"]


def optimize_model(
    model: keras.Model,
    model_attributes: Mapping[str, LayerAttributes],
    objective: ObjectiveLike,
    scheduler: OptimizationScheduler,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    batch_size: int,
    epochs: int,
    optimizer: Any,
    loss_fn: Any,
    validation_metric: Any,
    increasing: bool,
    rtol: float,
    callbacks: Sequence[Any] | None = None,
    ranking_metric: str = "l1",
    local: bool = False,
    verbose: bool = False,
    rewinding_epochs: int = defaults.REWINDING_EPOCHS,
    cutoff_bad_trials: int = defaults.CUTOFF_BAD_TRIALS,
    directory: str = DEFAULT_DIRECTORY,
    tuner: str | None = "Bayesian",
    knapsack_solver: str = defaults.KNAPSACK_SOLVER,
    regularization_range: Sequence[float] = defaults.REGULARIZATION_RANGE,
    *,
    seed: int = defaults.SEED,
    knapsack_options: Mapping[str, Any] | None = None,
    minimum_groups: int = defaults.MINIMUM_GROUPS,
) -> keras.Model:
    """Prune and share a model's weights for an objective; return the model that came out.

    The method is that of Ramhorst et al., "FPGA Resource-aware Structured Pruning for Real-Time Neural
    Networks" (2023), arXiv:2308.05170: tune group regularizers, then at rising sparsity choose the groups
    that stay by a knapsack, fine-tune with the others frozen, and go on from the last good weights.

    Parameters
    ----------
    model
        A built Sequential or Functional model. It is not changed.
    model_attributes
        Layer -> attributes, from :func:`fabricfit.attributes.get_attributes_from_keras_model` or
        :func:`~fabricfit.attributes.get_attributes_from_keras_model_and_hls4ml_config`. Not changed.
    objective
        What is to be saved: an :class:`~fabricfit.objectives.ObjectiveEstimator`, class or instance.
    scheduler
        The sparsity levels: fractions of the resources of the optimizable layers to save
        (:func:`fabricfit.optimize` counts all layers). A copy is used.
    X_train, y_train, X_val, y_val
        Inputs and targets, samples along the first axis; lists or dicts by name of arrays where the model
        has several inputs or outputs.
    batch_size
        Samples in a training step.
    epochs
        At most how many epochs a level is trained, ``rewinding_epochs`` of them without masks.
    optimizer, loss_fn, validation_metric
        Keras objects or their names. They are copied, never changed.
    increasing
        Whether a larger metric is better.
    rtol
        A level is good if its metric is at least as good as ``rtol`` times the incoming model's.
    callbacks
        Keras callbacks for every stretch of fine-tuning.
    ranking_metric
        ``'l1'``, ``'l2'``, ``'oracle'``, ``'saliency'`` or a criterion registered with
        :func:`fabricfit.choices.ranking.register_criterion`.
    local
        Meet the sparsity in every layer by itself instead of in all together.
    verbose
        Show the progress on the standard error stream.
    rewinding_epochs
        Epochs without masks between two levels.
    cutoff_bad_trials
        The run ends after more than this many bad levels in a row.
    directory
        Where the run makes a numbered folder of its own. The default stands for a folder of the
        platform's cache, never of the working directory.
    tuner
        ``'Bayesian'`` or ``'Hyperband'`` (extra ``tuner``); ``'Manual'`` and ``None`` take the first
        value of ``regularization_range`` for all layers.
    knapsack_solver
        ``'CBC_MIP'``, the historical default, means the best exact way. Others are listed by
        :func:`fabricfit.knapsack.implementations`.
    regularization_range
        Strengths of the regularizers to choose from.
    seed
        Seeds everything random.
    knapsack_options
        ``time_limit`` in seconds for one knapsack (5 by default), and ``scaling_factor``.
    minimum_groups
        Groups that stay in every layer whatever the sparsity.

    Returns
    -------
    keras.Model
        A plain Keras model with the weights of the highest level that was good, which loads where
        fabricfit is not installed; a copy of the input, with a warning, if no level was good.
        :func:`fabricfit.optimize` returns it together with a report.

    Raises
    ------
    FabricFitError
        The input cannot be worked with. Nothing has been trained or written then.
    """
    settings = OptimizationSettings(
        batch_size=batch_size,
        epochs=epochs,
        optimizer=optimizer,
        loss_fn=loss_fn,
        validation_metric=validation_metric,
        increasing=increasing,
        rtol=rtol,
        callbacks=callbacks,
        ranking_metric=ranking_metric,
        local=local,
        verbose=verbose,
        rewinding_epochs=rewinding_epochs,
        cutoff_bad_trials=cutoff_bad_trials,
        directory=directory,
        tuner=tuner,
        knapsack_solver=knapsack_solver,
        regularization_range=regularization_range,
        seed=seed,
        knapsack_options=knapsack_options,
        minimum_groups=minimum_groups,
    )
    check_attributes(model_attributes)
    check_scheduler(scheduler)
    settings = read_settings(model, (X_train, y_train), settings, {}, trained=False)
    setup = set_up(
        open_network(model),
        model_attributes,
        objective,
        sparsity_target(settings, of_whole_model=False),
        scheduler,
        ((X_train, y_train), (X_val, y_val)),
        settings,
    )
    return run(setup).model


def optimize_keras_model_for_hls4ml(
    keras_model: keras.Model,
    hls_config: Mapping[str, Any],
    objective: ObjectiveLike,
    scheduler: OptimizationScheduler,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    batch_size: int,
    epochs: int,
    optimizer: Any,
    loss_fn: Any,
    validation_metric: Any,
    increasing: bool,
    rtol: float,
    callbacks: Sequence[Any] | None = None,
    ranking_metric: str = "l1",
    local: bool = False,
    verbose: bool = False,
    rewinding_epochs: int = defaults.REWINDING_EPOCHS,
    cutoff_bad_trials: int = 3,
    directory: str = "hls4ml-optimization",
    tuner: str | None = "Bayesian",
    knapsack_solver: str = defaults.KNAPSACK_SOLVER,
    regularization_range: Sequence[float] = defaults.REGULARIZATION_RANGE,
    *,
    seed: int = defaults.SEED,
    knapsack_options: Mapping[str, Any] | None = None,
    minimum_groups: int = defaults.MINIMUM_GROUPS,
) -> keras.Model:
    """Prune and share a model's weights for the hardware that an hls4ml configuration describes.

    Parameters
    ----------
    keras_model
        A built Sequential or Functional model. It is not changed.
    hls_config
        What ``hls4ml.utils.config_from_keras_model`` returns, best with ``granularity='name'``.
    objective, scheduler, X_train, y_train, X_val, y_val, batch_size, epochs, optimizer, loss_fn
        As for :func:`fabricfit.keras.optimize_model`.
    validation_metric, increasing, rtol, callbacks, ranking_metric, local, verbose, rewinding_epochs
        As there.
    cutoff_bad_trials, directory, tuner, knapsack_solver, regularization_range, seed,
    knapsack_options, minimum_groups
        As there. The default directory stands for a folder of the platform's cache here too.

    Returns
    -------
    keras.Model
        As :func:`fabricfit.keras.optimize_model`.

    Raises
    ------
    FabricFitError
        The input cannot be worked with. Nothing has been trained or written then.
    """
    return optimize_model(
        keras_model,
        get_attributes_from_keras_model_and_hls4ml_config(keras_model, hls_config),
        objective,
        scheduler,
        X_train,
        y_train,
        X_val,
        y_val,
        batch_size,
        epochs,
        optimizer,
        loss_fn,
        validation_metric,
        increasing,
        rtol,
        callbacks=callbacks,
        ranking_metric=ranking_metric,
        local=local,
        verbose=verbose,
        rewinding_epochs=rewinding_epochs,
        cutoff_bad_trials=cutoff_bad_trials,
        directory=directory,
        tuner=tuner,
        knapsack_solver=knapsack_solver,
        regularization_range=regularization_range,
        seed=seed,
        knapsack_options=knapsack_options,
        minimum_groups=minimum_groups,
    )
