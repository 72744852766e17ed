"""Set-up of a run: everything that it needs, checked and built before anything is written."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.firmware.quantization import list_grids
from fabricfit.losses import ModelLoss, ModelMetric, label_check
from fabricfit.network.cloning import copy_model
from fabricfit.network.reader import Arrays, Network, read
from fabricfit.objectives import Objective, ObjectiveLike, as_objective
from fabricfit.optimization.arguments import check_scheduler
from fabricfit.optimization.eligible_layers import Decisions, decide
from fabricfit.optimization.hardware_metric import Finish, HardwareMetric, make_hardware_metric
from fabricfit.optimization.identity import fingerprint
from fabricfit.optimization.levels import LevelSelector
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.reuse import Start
from fabricfit.optimization.savings import GivenDesign
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.optimization.state import describe_run
from fabricfit.run import digest
from fabricfit.samples import Dataset, Door, check_class_weight, open_data
from fabricfit.scheduler import OptimizationScheduler, next_level
from fabricfit.selection.targets import Target
from fabricfit.training import (
    DistillationLoss,
    Engine,
    Penalty,
    add_teacher_outputs,
    check_against_model,
    make_engine,
)
from fabricfit.training.data_ranges import DataRanges
from fabricfit.training.recalibration import Recalibration
from fabricfit.training.weight_update import OptimalBrainSurgeonUpdate

__all__ = [
    "Finish",
    "MakeTarget",
    "RunSetup",
    "add_distillation",
    "add_teacher",
    "evaluate_baseline",
    "open_both",
    "set_up",
]

logger = logging.getLogger(__name__)

MakeTarget = Callable[[Decisions, Arrays], Target]
"""From the layers that take part and all kernels to the target of a run."""


@dataclass(frozen=True)
class RunSetup:
    """What a run works with.

    Parameters
    ----------
    network
        What was read of the model that came in; it is never changed.
    decisions
        Which of its layers are optimized, and their attributes.
    scheduler, settings
        On which levels, and how.
    training, validation
        Samples to train on, with the teacher's outputs where the run distills; and samples to evaluate on.
    engine
        Trains and evaluates a copy of the model throughout the run.
    metric, float_baseline
        The validation metric, and its value for the model that came in, in floats.
    hardware
        The metric of the network that hls4ml builds; None for a run that is not for hardware.
    always_trains
        Whether a model that meets the target as it came in is fine-tuned nevertheless.
    target, levels
        What a level allows; and what chooses and freezes weights there.
    ranges
        Measures the ranges of quantizers that follow the data, after weights have changed.
    fingerprint
        What identifies runs that can begin alike.
    start
        What an earlier run offers to begin with; None without one.
    finish
        What is done to the weights before a level is evaluated, and at the end; None for nothing.
    documents
        File name -> text: further files for the run's folder.
    given
        What is reported of the time before the run; None for the network as the objective counts it.
    """

    network: Network
    decisions: Decisions
    scheduler: OptimizationScheduler
    settings: OptimizationSettings
    training: Dataset
    validation: Dataset
    engine: Engine
    metric: ModelMetric
    float_baseline: float
    target: Target
    levels: LevelSelector
    ranges: DataRanges
    fingerprint: Mapping[str, Any]
    start: Start | None
    finish: Finish | None
    documents: Mapping[str, str]
    given: GivenDesign | None = None
    hardware: HardwareMetric | None = None
    always_trains: bool = False

    @property
    def baseline(self) -> float:
        """The metric of the model that came in, as levels are evaluated: quantized, where that is known."""
        if self.hardware is None or self.hardware.first is None:
            return self.float_baseline
        return self.hardware.first

    @property
    def threshold(self) -> float | None:
        """The metric that a level has to reach; None if all levels are accepted."""
        return self.settings.threshold(self.baseline)

    @property
    def objective(self) -> Objective:
        """What counts resources."""
        return self.decisions.objective

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run is, for its folder."""
        reused = None if self.start is None else digest(self.start.fingerprint)
        return describe_run(
            self.network.model.name,
            self.fingerprint,
            self.settings,
            self.scheduler,
            self.target,
            reused,
        )

    def describe_threshold(self) -> str:
        """Return what a level has to reach, as a part of a sentence."""
        if self.threshold is None:
            return "levels are accepted whatever their metric"
        return f"levels must reach {self.threshold:.5g}"

    def count_kernels(self, network: Network) -> Arrays:
        """Return the kernels of a network that the objective counts."""
        return network.counted_kernels(self.decisions.attributes)

    def count_resources(self, kernels: Arrays) -> list[float]:
        """Return the resource usage of a model with these kernels, by the target's objective."""
        return self.target.objective.model_usage(self.decisions.attributes, kernels).tolist()

    @contextmanager
    def finished_weights(self) -> Iterator[Network]:
        """Give the engine the weights that would be handed out, and its own again afterwards."""
        if self.finish is None:
            yield self.engine.network
            return
        present = self.engine.get_weights()
        try:
            self.finish(self.engine.network, self.decisions.attributes)
            yield self.engine.network
        finally:
            self.engine.set_weights(present)

    def evaluate_weights(self, weights: list[np.ndarray]) -> float:
        """Return the metric of other weights than the present ones, of the network that hls4ml builds."""
        present = self.engine.get_weights()
        self.engine.set_weights(weights)
        value = self._evaluate_present()
        self.engine.set_weights(present)
        return value

    def _evaluate_present(self) -> float:
        if self.hardware is not None and self.hardware.is_exact:
            return self.hardware(self.engine.network, np.nan)
        return self.engine.evaluate(self.validation, self.metric)

    def evaluate_model(self, model: keras.Model) -> float:
        """Return the validation metric of a model; one of the run's own shapes is not compiled again."""
        shapes = [[tuple(v.shape) for v in each.variables] for each in (model, self.engine.model)]
        if shapes[0] == shapes[1]:
            return self.evaluate_weights([keras.ops.convert_to_numpy(v) for v in model.variables])
        other = make_engine(model, self.engine.hard_loss, "sgd")
        return other.evaluate(self.validation, self.metric)


def set_up(
    network: Network,
    attributes: Mapping[str, LayerAttributes],
    objective: ObjectiveLike,
    make_target: MakeTarget,
    scheduler: OptimizationScheduler,
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    *,
    finish: Finish | None = None,
    reuse: OptimizationResult | None = None,
    documents: Mapping[str, str] | None = None,
    given: GivenDesign | None = None,
    hls_config: Mapping[str, Any] | None = None,
    always_trains: bool = False,
) -> RunSetup:
    """Check what a run is given, and build what it works with; nothing is trained or written.

    Parameters
    ----------
    network
        What was read of the model.
    attributes, objective, scheduler, settings, reuse, documents
        As for :func:`fabricfit.optimize`.
    make_target
        Makes the target, once it is decided which layers take part.
    data
        For training and for validation.
    finish
        What is done to the weights at the end, and before a level is evaluated.
    given
        What is reported of the time before the run.
    hls_config
        How hls4ml builds the network, whose metric is then that of levels and of the result.
    always_trains
        Whether a model that meets the target as it came in is fine-tuned nevertheless.

    Raises
    ------
    FabricFitError
        The input cannot be worked with.
    """
    core = as_objective(objective)
    scheduler = copy.deepcopy(check_scheduler(scheduler))
    next_level(
        copy.deepcopy(scheduler), good=True
    )  # what it answers is checked before there is a folder
    loss = ModelLoss(settings.loss_fn, settings.loss_weights, network.ends.outputs)
    metric = ModelMetric(settings.validation_metric, network.ends.outputs)
    samples, validation = open_both(network, data, settings, (loss, metric))
    decisions = decide(network, attributes, core)
    engine = _make_engine(network, decisions, settings, loss)
    check_against_model(engine, samples)
    training = add_teacher(network.model, samples, engine.hard_loss, settings)
    outputs = check_against_model(engine, validation)
    metric = metric.suited(validation.head(len(keras.tree.flatten(outputs)[0])).y, outputs)
    target = make_target(decisions, network.counted_kernels(decisions.attributes))
    ranges = DataRanges(engine, samples)
    levels = _make_levels(target, decisions, engine, samples, settings, ranges)
    identity = fingerprint(network.model, decisions.attributes, samples, validation, settings)
    baseline, hardware = evaluate_baseline(engine, validation, metric), None
    if hls_config is not None:
        hardware = make_hardware_metric(
            engine, decisions.attributes, finish, hls_config, validation, metric
        )
        if said := hardware.tell_of_formats(baseline, settings.increasing):
            logger.warning("%s", said)
        grids = list_grids(engine.network, decisions.attributes)
        engine.round_weights((variable, form) for _, variable, form in grids)
    return RunSetup(
        network=network,
        decisions=decisions,
        scheduler=scheduler,
        settings=settings,
        training=training,
        validation=validation,
        engine=engine,
        metric=metric,
        target=target,
        levels=levels,
        ranges=ranges,
        fingerprint=identity,
        start=_check_start(reuse, identity),
        float_baseline=baseline,
        finish=finish,
        documents=dict(documents or {}),
        given=given,
        hardware=hardware,
        always_trains=always_trains,
    )


def open_both(
    network: Network,
    data: tuple[Any, Any],
    settings: OptimizationSettings,
    compared: tuple[ModelLoss, ModelMetric],
) -> tuple[Dataset, Dataset]:
    """Return the samples to train on and to validate with; weights of classes are for training alone."""
    needed = tuple(sorted({place for each in compared for place in each.needed}))
    class_weight = check_class_weight(settings.class_weight)
    check = label_check(compared[0], network.ends.outputs)
    doors = (
        Door(network.ends, needed, class_weight, check),
        Door(network.ends, needed, check=check),
    )
    train, validation = (
        open_data(dataset, name, door)
        for dataset, name, door in zip(data, ("train", "val"), doors, strict=True)
    )
    return train, validation


def _make_engine(
    network: Network, decisions: Decisions, settings: OptimizationSettings, hard_loss: ModelLoss
) -> Engine:
    attributes = decisions.attributes
    loss = add_distillation(hard_loss, settings)
    copied = read(copy_model(network.model, settings.seed))
    penalty = Penalty(copied, attributes)
    return make_engine(copied, loss, settings.optimizer, attributes, settings.seed, penalty)


def add_distillation(
    loss: ModelLoss, settings: OptimizationSettings
) -> ModelLoss | DistillationLoss:
    """Return a loss that a teacher's outputs count in, where the settings say so."""
    if not settings.distillation:
        return loss
    return DistillationLoss(loss, settings.distillation, settings.temperature)


def add_teacher(
    model: keras.Model, samples: Dataset, loss: ModelLoss, settings: OptimizationSettings
) -> Dataset:
    """Return samples with what the model says of them, where the run distills it."""
    if not settings.distillation:
        return samples
    teacher = make_engine(copy_model(model), loss, "sgd")
    return add_teacher_outputs(samples, teacher.predict)


def _make_levels(
    target: Target,
    decisions: Decisions,
    engine: Engine,
    samples: Dataset,
    settings: OptimizationSettings,
    ranges: DataRanges,
) -> LevelSelector:
    return LevelSelector(
        target,
        decisions.attributes,
        engine.hard_loss,
        settings.ranking_metric or "l1",
        samples,
        OptimalBrainSurgeonUpdate(
            engine.network, samples, settings.compensation, settings.batch_size
        ),
        Recalibration(engine, samples, settings.recalibration, settings.batch_size),
        ranges,
        settings.curvature_samples,
    )


def _check_start(reuse: OptimizationResult | None, identity: Mapping[str, Any]) -> Start | None:
    """Return what an earlier result offers to begin with, if it was of the same model and data."""
    if reuse is None:
        return None
    if reuse.start is not None:
        reuse.start.check(identity)
    return reuse.start


def evaluate_baseline(engine: Engine, validation: Dataset, metric: ModelMetric) -> float:
    """Return the metric of the model that came in; refuse one that is not finite."""
    baseline = engine.evaluate(validation, metric)
    if not np.isfinite(baseline):
        raise InvalidInputError(
            f"the model's {metric.name} on the validation data is {baseline}: check its weights, the "
            "data and the metric before it is optimized."
        )
    return baseline
