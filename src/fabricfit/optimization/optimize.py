"""Optimization for a sparsity, and the run that it shares with fitting to a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.network.buildable import list_limits, warn_of_limits
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Arrays
from fabricfit.objectives import ObjectiveLike, as_objective
from fabricfit.optimization.arguments import check_arguments, check_attributes, check_scheduler
from fabricfit.optimization.compiled_settings import RunOptions, read_settings
from fabricfit.optimization.eligible_layers import Decisions
from fabricfit.optimization.outcome import make_result
from fabricfit.optimization.recording import recorded
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.run import Run
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.setup import MakeTarget, RunSetup, set_up
from fabricfit.scheduler import OptimizationScheduler
from fabricfit.selection.choice_targets import ChoiceTarget
from fabricfit.selection.targets import SparsityTarget, Target

__all__ = ["OptimizationResult", "optimize", "run", "sparsity_target"]


def optimize(
    model: keras.Model,
    attributes: Mapping[str, LayerAttributes],
    objective: ObjectiveLike,
    scheduler: OptimizationScheduler,
    train_data: Any,
    validation_data: Any,
    settings: OptimizationSettings | None = None,
    *,
    reuse: OptimizationResult | None = None,
    documents: Mapping[str, str] | None = None,
    **options: Unpack[RunOptions],
) -> OptimizationResult:
    """Prune and share the weights of a model until its metric says stop.

    Parameters
    ----------
    model
        A built model. It is not changed. Of a subclassed one a functional copy is worked with, see
        :func:`fabricfit.network.tracing.traced`.
    attributes
        Layer -> attributes, from :func:`fabricfit.attributes.get_attributes_from_keras_model` or its
        hls4ml companion.
    objective
        What is to be saved: an estimator class or instance.
    scheduler
        The sparsity levels. A copy is used.
    train_data, validation_data
        ``(X, y)`` or ``(X, y, weights)``, each part in any structure that Keras accepts, or anything that
        yields such batch by batch: see :func:`fabricfit.samples.open_data`.
    settings
        How it is done, all of it in one object; or leave it out, and name what is to differ from the defaults
        in ``options``.
    reuse
        The result of an earlier run of the same model, data and settings (the tolerance, the criterion
        and such may differ). Its regularization strengths are not searched for again, and where it has
        already reached a part of the way, this run starts from there.
    documents
        File name -> text: further files for the run's folder.
    options
        What :class:`fabricfit.OptimizationSettings` has by these names, and ``loss`` and ``metric`` for its
        ``loss_fn`` and ``validation_metric``; by default as for :func:`fabricfit.fit`.

    Raises
    ------
    FabricFitError
        The input cannot be worked with; nothing has been trained or written then.

    Warns
    -----
    BuildWarning
        The attributes were read with an hls4ml configuration, and hls4ml would build something else of the
        model, or nothing.
    """
    check_attributes(attributes)
    objective = as_objective(objective)
    check_scheduler(scheduler)
    check_arguments(reuse=reuse, documents=documents)
    # Magnitudes do not compare groups that cost different amounts; losses do. Those of single weights
    # do not add up to that of a unit.
    usual = "removal" if objective.removes_units else "l1"
    settings = read_settings(model, train_data, settings, options, trained=False)
    settings = settings.ranked_by("saliency" if objective.offers_choices else usual)
    data = (train_data, validation_data)
    make_target = sparsity_target(settings)
    network = open_network(model)
    built = [each.hls4ml for each in attributes.values() if each.hls4ml is not None]
    if built:
        config = {"IOType": built[0].io_type}
        warn_of_limits(list_limits(network, attributes, config))
    setup = set_up(
        network,
        attributes,
        objective,
        make_target,
        scheduler,
        data,
        settings,
        reuse=reuse,
        documents=documents,
    )
    return run(setup)


def sparsity_target(settings: OptimizationSettings, *, of_whole_model: bool = True) -> MakeTarget:
    """Return a function that makes the target of a run whose levels are sparsities.

    Parameters
    ----------
    settings
        How groups are chosen.
    of_whole_model
        Whether a sparsity is of the usage of all layers, or of the optimizable ones alone.
    """
    ranking: dict[str, Any] = {
        "metric": settings.ranked_by("l1").ranking_metric,
        "minimum_groups": settings.minimum_groups,
        "of_whole_model": of_whole_model,
    }
    options = {
        "local": settings.local,
        "knapsack_solver": settings.knapsack_solver,
        "knapsack_options": settings.knapsack_options,
        **ranking,
    }

    def make(decisions: Decisions, kernels: Arrays) -> Target:
        attributes, objective = decisions.attributes, decisions.objective
        if objective.offers_choices and not settings.local:
            return ChoiceTarget(
                attributes, objective, kernels, reasons=decisions.reasons, **ranking
            )
        return SparsityTarget(attributes, objective, options)

    return make


def run(setup: RunSetup) -> OptimizationResult:
    """Go level by level toward the target of a run that is set up, and return the outcome."""
    data = (setup.training, setup.validation)
    with recorded(setup.settings, setup.manifest, setup.documents, data) as recorder:
        return make_result(setup, recorder, Run(setup, recorder).go())
