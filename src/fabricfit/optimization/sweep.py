"""Sweep over budgets: the Pareto front of the metric against resource usage, and its knee."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Unpack

import keras

from fabricfit.checks import flag, one_of, optional_whole_number, whole_number
from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError, spell
from fabricfit.hardware.budget import Budget
from fabricfit.hardware.budget_forms import BudgetLike, as_budget
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.hls4ml.target import choose_budget
from fabricfit.losses import ModelLoss, ModelMetric, is_builtin
from fabricfit.network.cloning import copy_model
from fabricfit.network.configuration import open_configuration
from fabricfit.network.copying import names_in, stand_ins
from fabricfit.network.finite import open_network
from fabricfit.network.reader import Network, as_network
from fabricfit.optimization.chosen_design import leaves_design_open, why_not_unrolled
from fabricfit.optimization.cluster import Cluster, LocalCluster, RayCluster
from fabricfit.optimization.compiled_settings import TRAINED_EPOCHS, RunOptions, read_settings
from fabricfit.optimization.fit import fit
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.reuse import Start
from fabricfit.optimization.settings import OptimizationSettings, list_by_output
from fabricfit.optimization.setup import open_both
from fabricfit.optimization.sweep_result import SweepPoint, SweepResult
from fabricfit.optimization.trained_fit import choose_precision
from fabricfit.optimization.trained_run import fit_trained
from fabricfit.optimization.trained_setup import TrainedFormats, set_up_trained
from fabricfit.reporting.report import OptimizationReport
from fabricfit.run import RunDirectory, resolve_directory
from fabricfit.samples.held_back import divide_samples

__all__ = ["SweepPoint", "SweepResult", "sweep"]

logger = logging.getLogger(__name__)

BACKENDS = ("local", "ray")
_SERIALIZED = ("optimizer", "loss_fn", "validation_metric")


def sweep(
    model: keras.Model,
    hls_config: ConfigurationLike | None,
    budgets: Sequence[BudgetLike],
    train_data: Any,
    validation_data: Any,
    settings: OptimizationSettings | None = None,
    *,
    backend: str = "local",
    workers: int | None = None,
    share_search: bool = True,
    precision: str | None = None,
    granularity: str = "tensor",
    saturating: float = 0.02,
    overflow: str = "saturate",
    designs: int = 4,
    **options: Unpack[RunOptions],
) -> SweepResult:
    """Fit a model into each of several budgets, and show what a resource, or a board, is worth.

    Each budget is a run of :func:`fabricfit.fit` of its own, in its own folder, with the design that is
    chosen for its board where none is stated. Where precision is trained for budgets of the same resources,
    family, clock and tool, all of them share one training, with ``'local'``. A sweep that is interrupted is
    resumed by the same call and ``resume=True``: runs that are done are not done again.

    Parameters
    ----------
    model, hls_config, train_data, validation_data, settings, options
        As for :func:`fabricfit.fit`. With ``'ray'``, data are arrays, and callbacks are left out.
    budgets
        The budgets, with at least one resource that all of them limit; the name of a board or part stands for
        all that it has.
    backend
        ``'local'``: one after the other in this process; ``'ray'``: on the workers of a Ray cluster (extra
        ``ray``), which share the ``directory``. Without a cluster, Ray starts one on this machine. A worker
        that is lost costs what its run has not saved; another one resumes it.
    workers
        Runs at the same time with ``'ray'``; by default as many as it has processors for.
    share_search
        Search for regularization strengths once, for the first budget, and use them for all, where
        ``hls_config`` states the design.
    precision, granularity, saturating, overflow
        As for :func:`fabricfit.fit`. With ``'ray'`` each budget has a training of its own.
    designs
        As for :func:`fabricfit.fit`, where each budget has a run of its own.

    Raises
    ------
    InvalidInputError
        There are no budgets, they have no resource in common, or the backend is not known.
    MissingExtraError
        Ray is not installed.
    FabricFitError
        As for :func:`fabricfit.fit`, budgets that cannot be met excepted: their points say so.
    """
    budgets = _check_budgets(budgets)
    one_of("backend", backend, BACKENDS)
    optional_whole_number("workers", workers)
    flag("share_search", share_search)
    designs = whole_number("designs", designs)
    formats = TrainedFormats(granularity, saturating, overflow)
    network = open_network(model)
    config = open_configuration({} if hls_config is None else hls_config, network)
    trained = choose_precision(precision, config, network) == "trained"
    is_open = leaves_design_open(config)
    by_fit = precision is None and is_open  # chooses for each budget whether it can be all adders
    found = read_settings(model, train_data, settings, options, trained=trained and not by_fit)
    data = divide_samples(train_data, validation_data, found.seed)
    _check_data(network, data, found)
    if trained and backend == "local":
        built = [choose_budget(config, budget) for budget in budgets]
        unrolled = not (by_fit and any(why_not_unrolled(network, config, each) for each in built))
        if unrolled and _are_built_alike(built):
            epochs = found.epochs * (TRAINED_EPOCHS if by_fit else 1)
            own = replace(found, epochs=epochs)
            return _sweep_trained(network, config, budgets, data, own, formats)
    keywords = {"precision": precision, "designs": designs, **vars(formats)}
    task = _Task.of(network.model, config, data, found, backend, keywords)
    share_search = share_search and not trained and not is_open and found.tuner is not None
    cluster: Cluster = LocalCluster() if backend == "local" else RayCluster(workers)
    with cluster:
        place = _find_folder(found)
        outcomes = _do_jobs(cluster, task, budgets, place, share_search)
    points = tuple(
        SweepPoint(
            budget,
            None if outcome.directory is None else Path(outcome.directory),
            None if outcome.report is None else OptimizationReport.from_dict(outcome.report),
            outcome.error,
        )
        for budget, outcome in zip(budgets, outcomes, strict=True)
    )
    return SweepResult(points, found.increasing, place)


def _check_data(network: Network, data: tuple[Any, Any], settings: OptimizationSettings) -> None:
    """Refuse data that do not suit the model, before there is a folder for anything."""
    for each in data:
        if hasattr(each, "__next__"):
            raise InvalidInputError(
                "each budget has a run of its own, for which samples are drawn again, and an iterator is "
                f"drawn from but once. Give a function that returns one. Received: {spell(each)}"
            )
    outputs = network.ends.outputs
    loss = ModelLoss(settings.loss_fn, settings.loss_weights, outputs)
    metric = ModelMetric(settings.validation_metric, outputs)
    for dataset in open_both(network, data, settings, (loss, metric)):
        dataset.head(1)


def _are_built_alike(budgets: Sequence[Budget]) -> bool:
    """Whether budgets count the same resources of designs that are built for and with the same."""
    counted = {
        (replace(each.target, part=""), each.resources, each.stage, each.margin) for each in budgets
    }
    return len(counted) == 1


def _do_jobs(
    cluster: Cluster, task: _Task, budgets: Sequence[Budget], place: Path, share_search: bool
) -> list[_Outcome]:
    """Do a run for each budget; the first one by itself where the others use its search."""
    jobs = [
        _Job(budget, str(place / f"budget-{number:02d}"))
        for number, budget in enumerate(budgets, 1)
    ]
    shared, alone = cluster.share(task), int(share_search)
    first: list[_Outcome] = cluster.run(_do_job, shared, jobs[:alone])
    if first and first[0].start is not None:
        start = replace(first[0].start, weights=None)
        jobs = [replace(job, start=start) for job in jobs]
    return [*first, *cluster.run(_do_job, shared, jobs[alone:])]


def _sweep_trained(
    network: Network,
    config: dict[str, Any],
    budgets: list[Budget],
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    formats: TrainedFormats,
) -> SweepResult:
    """Train precision once for all budgets; each has the best network within it."""
    setup = set_up_trained(network, config, budgets, data, settings, formats)
    place = _find_folder(settings)
    setup = replace(setup, settings=replace(settings, directory=place / "training"))
    points = tuple(
        SweepPoint(budget, None, None, str(found))
        if isinstance(found, InfeasibleError)
        else SweepPoint(budget, found.directory, found.report)
        for budget, found in zip(budgets, fit_trained(setup), strict=True)
    )
    return SweepResult(points, settings.increasing, place)


def _check_budgets(budgets: Sequence[BudgetLike]) -> list[Budget]:
    if not isinstance(budgets, list | tuple):
        raise InvalidTypeError(
            "budgets must be a list of fabricfit.Budget objects and names of boards. "
            f"Received: {spell(budgets)}"
        )
    found = [as_budget(budget, "each of budgets") for budget in budgets]
    if not found or not set.intersection(*(set(budget.resources) for budget in found)):
        raise InvalidInputError(
            "budgets must be one or more, with a resource that all of them limit. Received: "
            f"{[budget.resources for budget in found]}"
        )
    return found


def _find_folder(settings: OptimizationSettings) -> Path:
    """Return the folder of all runs: a new one, or the latest where a sweep is resumed."""
    parent = resolve_directory(settings.directory)
    if settings.resume:
        if any(parent.glob("budget-*")):
            return parent
        found = sorted(parent.glob("sweep-*"))
        if found:
            return found[-1]
    return RunDirectory(parent, "sweep").path


@dataclass(frozen=True)
class _Job:
    """One budget, and where its run goes."""

    budget: Budget
    directory: str
    start: Start | None = None


@dataclass(frozen=True)
class _Outcome:
    """Outcome of a job, in plain values."""

    directory: str | None
    report: dict[str, Any] | None
    error: str
    start: Start | None


@dataclass(frozen=True)
class _Task:
    """What all jobs have in common, in a form that can be sent to another process."""

    model: Any
    hls_config: Mapping[str, Any]
    data: Any
    settings: Any
    keywords: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: keras.Model,
        hls_config: Mapping[str, Any],
        data: Any,
        settings: OptimizationSettings,
        backend: str,
        keywords: Mapping[str, Any],
    ) -> _Task:
        if backend == "local":
            return cls(model, hls_config, data, settings, keywords)
        plain = {each.name: getattr(settings, each.name) for each in fields(settings)}
        for name in _SERIALIZED:
            # What is not Keras' own is sent as it is: by its code.
            if all(map(is_builtin, list_by_output(plain[name]))):
                plain[name] = keras.saving.serialize_keras_object(plain[name])
        plain["callbacks"] = None
        model = copy_model(as_network(model).model)  # without what Keras keeps of a training
        numbers = itertools.count()
        with stand_ins(model, lambda _: f"fabricfit_object_{next(numbers)}") as objects:
            config = keras.saving.serialize_keras_object(model)
        described = {
            "config": config,
            "objects": {**names_in(model), **objects},
            "weights": [keras.ops.convert_to_numpy(v) for v in model.variables],
        }
        return cls(described, hls_config, data, plain, keywords)

    def restored(self) -> tuple[keras.Model, OptimizationSettings]:
        """Return model and settings, in whatever process this is."""
        if isinstance(self.settings, OptimizationSettings):
            return self.model, self.settings
        with keras.saving.custom_object_scope(self.model["objects"]):
            model = keras.saving.deserialize_keras_object(self.model["config"])
        for variable, value in zip(model.variables, self.model["weights"], strict=True):
            variable.assign(value)
        values = dict(self.settings)
        for name in _SERIALIZED:
            if isinstance(values[name], dict | list):
                values[name] = keras.saving.deserialize_keras_object(values[name])
        return model, OptimizationSettings(**values)


def _do_job(task: _Task, job: _Job) -> _Outcome:
    """Do one run, or resume it: another process may have begun it."""
    model, settings = task.restored()
    options = _list_options(replace(settings, directory=job.directory, resume=True))
    keywords = {**task.keywords, "hls_config": task.hls_config}
    if job.start is not None:
        keywords["reuse"] = _make_reusable(job.start)
    train, held = task.data
    try:
        result = fit(model, train, held, job.budget, **keywords, **options)
    except InfeasibleError as error:
        logger.warning("%r cannot be met: %s", job.budget, error)
        return _Outcome(None, None, str(error), None)
    return _Outcome(str(result.directory), result.report.to_dict(), "", result.start)


def _list_options(settings: OptimizationSettings) -> dict[str, Any]:
    """Return settings by the keywords of :func:`fabricfit.fit`."""
    found = {each.name: getattr(settings, each.name) for each in fields(settings)}
    loss, metric = found.pop("loss_fn"), found.pop("validation_metric")
    return {**found, "loss": loss, "metric": metric}


def _make_reusable(start: Start) -> OptimizationResult:
    return OptimizationResult(None, None, Path(), start=start)  # type: ignore[arg-type]
