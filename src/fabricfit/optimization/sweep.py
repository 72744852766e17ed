"""Sweep over budgets: the Pareto front of the metric against resource usage, and its knee."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InfeasibleError, InvalidInputError, InvalidTypeError, unknown_name
from fabricfit.hardware.budget import Budget
from fabricfit.hls4ml.plain import ConfigurationLike
from fabricfit.losses import is_builtin
from fabricfit.network.configuration import open_configuration
from fabricfit.network.copying import names_in, stand_ins
from fabricfit.network.reader import Network, as_network
from fabricfit.optimization.cluster import Cluster, LocalCluster, RayCluster
from fabricfit.optimization.fit import fit
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.reuse import Start
from fabricfit.optimization.settings import OptimizationSettings, list_by_output
from fabricfit.optimization.trained_fit import choose_precision
from fabricfit.optimization.trained_run import fit_trained
from fabricfit.optimization.trained_setup import TrainedFormats, set_up_trained
from fabricfit.reporting.report import OptimizationReport, frame, is_better
from fabricfit.run import RunDirectory, resolve_directory
from fabricfit.run.files import MODEL

__all__ = ["SweepPoint", "SweepResult", "sweep"]

logger = logging.getLogger(__name__)

BACKENDS = ("local", "ray")
_SERIALIZED = ("optimizer", "loss_fn", "validation_metric")


@dataclass(frozen=True)
class SweepPoint:
    """Result of one budget.

    Parameters
    ----------
    budget
        The budget.
    directory
        The folder of its run; None if there was none.
    report
        The run's report; None if the budget cannot be met.
    error
        Why it cannot be met; ``''`` if it can.
    """

    budget: Budget
    directory: Path | None
    report: OptimizationReport | None
    error: str = ""

    @property
    def share(self) -> float:
        """Largest share of the resource usage before that is left, over the resources."""
        if self.report is None:
            return float("nan")
        pairs = zip(self.report.resources_after, self.report.resources_before, strict=True)
        return max((after / before for after, before in pairs if before), default=0.0)

    def load(self) -> keras.Model:
        """Load the model.

        Raises
        ------
        InvalidInputError
            There is none.
        """
        if self.directory is None:
            raise InvalidInputError(f"{self.budget!r} has no model: {self.error}")
        return keras.saving.load_model(self.directory / MODEL, compile=False)


@dataclass(frozen=True)
class SweepResult:
    """Results of all budgets.

    Parameters
    ----------
    points
        One for each budget, in their order.
    increasing
        Whether a larger metric is better.
    directory
        The folder of all runs.
    """

    points: tuple[SweepPoint, ...]
    increasing: bool
    directory: Path = field(compare=False)

    @property
    def front(self) -> tuple[SweepPoint, ...]:
        """Points that no other one beats in the metric and in every resource, the smallest first."""
        found = [point for point in self.points if point.report is not None]
        kept = [each for each in found if not any(self._dominates(other, each) for other in found)]
        return tuple(sorted(kept, key=lambda point: point.share))

    @property
    def knee(self) -> SweepPoint | None:
        """The point of the Pareto front after which more resources bring least: a suggestion.

        That is the point farthest above the line between the front's ends, both axes scaled from 0 to 1
        (Satopaa et al., "Finding a Kneedle in a Haystack", 2011). None without a front.
        """
        front = self.front
        if len(front) < 3:
            return front[0] if front else None
        sign = 1 if self.increasing else -1
        x = _scale([point.share for point in front])
        y = _scale([sign * _read_metric(point) for point in front])
        return front[int(np.argmax(y - x))]

    def to_frame(self) -> Any:
        """Return the points as a pandas DataFrame (extra ``frames``): a row each."""
        rows = []
        for point in self.points:
            row: dict[str, Any] = {"budget": repr(point.budget), "error": point.error}
            if point.report is not None:
                row |= {point.report.metric_name: point.report.metric_after, "share": point.share}
                units = zip(point.report.units, point.report.resources_after, strict=True)
                row |= dict(units)
            rows.append({**row, "on_front": point in self.front, "is_knee": point is self.knee})
        return frame(rows)

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the Pareto front into a ``.png``, ``.svg`` or ``.pdf`` file (extra ``report``)."""
        from fabricfit.reporting.figures import draw_sweep_front

        reported = [point for point in self.points if point.report is not None]
        knee = self.knee
        figure = draw_sweep_front(
            [
                (point.share, _read_metric(point), point in self.front, point is knee)
                for point in reported
            ],
            reported[0].report.metric_name if reported and reported[0].report else "",
        )
        figure.savefig(path, dpi=160)
        return Path(path)

    def _dominates(self, one: SweepPoint, other: SweepPoint) -> bool:
        assert one.report is not None and other.report is not None
        sign = 1 if self.increasing else -1
        first = (-sign * _read_metric(one), *one.report.resources_after)
        second = (-sign * _read_metric(other), *other.report.resources_after)
        return is_better(first, second)


def _read_metric(point: SweepPoint) -> float:
    assert point.report is not None
    return point.report.metric_after


def _scale(values: Sequence[float]) -> np.ndarray:
    array = np.array(values, float)
    spread = float(np.ptp(array))
    return (array - array.min()) / spread if spread else np.zeros(array.size)


def sweep(
    model: keras.Model,
    hls_config: ConfigurationLike | None,
    budgets: Sequence[Budget],
    train_data: Any,
    validation_data: Any,
    settings: OptimizationSettings,
    *,
    backend: str = "local",
    workers: int | None = None,
    share_search: bool = True,
    precision: str | None = None,
    granularity: str = "tensor",
    saturating: float = 0.02,
    overflow: str = "saturate",
) -> SweepResult:
    """Fit a model into each of several budgets, and show what a resource is worth.

    Each budget is a run of its own, in its own folder; where precision is trained, all of them share one
    training. A sweep that is interrupted is resumed by the same call and ``resume=True`` in the settings:
    runs that are done are not done again.

    Parameters
    ----------
    model, hls_config, train_data, validation_data, settings
        As for :func:`fabricfit.fit`. With ``'ray'``, data are arrays, and callbacks are left out.
    budgets
        The budgets, of the same resources.
    backend
        ``'local'``: one after the other in this process; ``'ray'``: on the workers of a Ray cluster (extra
        ``ray``), which share the ``directory``. Without a cluster, Ray starts one on this machine. A worker
        that is lost costs what its run has not saved; another one resumes it.
    workers
        Runs at the same time with ``'ray'``; by default as many as it has processors for.
    share_search
        Search for regularization strengths once, for the first budget, and use them for all.
    precision, granularity, saturating, overflow
        As for :func:`fabricfit.fit`. Trained precision is for ``'local'``.

    Raises
    ------
    InvalidInputError
        There are no budgets, they differ in their resources, or the backend is not known.
    MissingExtraError
        Ray is not installed.
    FabricFitError
        As for :func:`fabricfit.fit`, budgets that cannot be met excepted: their points say so.
    """
    budgets = _check_budgets(budgets)
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    network = as_network(model)
    model = network.model
    hls_config = open_configuration({} if hls_config is None else hls_config, network)
    data = (train_data, validation_data)
    if choose_precision(precision, hls_config, network) == "trained":
        formats = TrainedFormats(granularity, saturating, overflow)
        return _sweep_trained(network, hls_config, budgets, data, settings, formats, backend)
    place = _find_folder(settings)
    jobs = [
        _Job(budget, str(place / f"budget-{number:02d}"))
        for number, budget in enumerate(budgets, 1)
    ]
    cluster: Cluster = LocalCluster() if backend == "local" else RayCluster(workers)
    with cluster:
        shared = cluster.share(_Task.of(model, hls_config, data, settings, backend))
        first = cluster.run(_do_job, shared, jobs[:1])
        if share_search and settings.tuner is not None and first[0].start is not None:
            start = replace(first[0].start, weights=None)
            jobs = [replace(job, start=start) for job in jobs]
        outcomes = [*first, *cluster.run(_do_job, shared, jobs[1:])]
    points = tuple(
        SweepPoint(
            budget,
            None if outcome.directory is None else Path(outcome.directory),
            None if outcome.report is None else OptimizationReport.from_dict(outcome.report),
            outcome.error,
        )
        for budget, outcome in zip(budgets, outcomes, strict=True)
    )
    return SweepResult(points, settings.increasing, place)


def _sweep_trained(
    network: Network,
    config: dict[str, Any],
    budgets: list[Budget],
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    formats: TrainedFormats,
    backend: str,
) -> SweepResult:
    """Train precision once for all budgets; each has the best network within it."""
    if backend != "local":
        raise InvalidInputError(f"precision='trained' needs backend='local'. Received: {backend!r}")
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


def _check_budgets(budgets: Sequence[Budget]) -> list[Budget]:
    found = list(budgets)
    for budget in found:
        if not isinstance(budget, Budget):
            raise InvalidTypeError(
                f"budgets must hold fabricfit.Budget objects. Received: {budget!r}"
            )
    if len({budget.resources for budget in found}) != 1:
        raise InvalidInputError(
            "budgets must be one or more, all of the same resources. Received: "
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

    @classmethod
    def of(
        cls,
        model: keras.Model,
        hls_config: Mapping[str, Any],
        data: Any,
        settings: OptimizationSettings,
        backend: str,
    ) -> _Task:
        if backend == "local":
            return cls(model, hls_config, data, settings)
        plain = {each.name: getattr(settings, each.name) for each in fields(settings)}
        for name in _SERIALIZED:
            # What is not Keras' own is sent as it is: by its code.
            if all(map(is_builtin, list_by_output(plain[name]))):
                plain[name] = keras.saving.serialize_keras_object(plain[name])
        plain["callbacks"] = None
        model = as_network(model).model
        numbers = itertools.count()
        with stand_ins(model, lambda _: f"fabricfit_object_{next(numbers)}") as objects:
            config = keras.saving.serialize_keras_object(model)
        described = {
            "config": config,
            "objects": {**names_in(model), **objects},
            "weights": [keras.ops.convert_to_numpy(v) for v in model.variables],
        }
        return cls(described, hls_config, data, plain)

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
    settings = replace(settings, directory=job.directory, resume=True)
    reuse = None if job.start is None else _make_reusable(job.start)
    (train, held), config = task.data, task.hls_config
    try:
        result = fit(model, train, held, job.budget, settings, hls_config=config, reuse=reuse)
    except InfeasibleError as error:
        logger.warning("%r cannot be met: %s", job.budget, error)
        return _Outcome(None, None, str(error), None)
    return _Outcome(str(result.directory), result.report.to_dict(), "", result.start)


def _make_reusable(start: Start) -> OptimizationResult:
    return OptimizationResult(None, None, Path(), start=start)  # type: ignore[arg-type]
