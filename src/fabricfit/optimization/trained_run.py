"""Run that trains precision: one training, its Pareto front, and the network that each budget gets of it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fabricfit.errors import InfeasibleError
from fabricfit.hardware.adder_graphs import enclosed_bits
from fabricfit.hardware.budget import Budget
from fabricfit.network.configuration import open_configuration
from fabricfit.optimization.built_design import describe_built
from fabricfit.optimization.hardware_metric import HardwareMetric
from fabricfit.optimization.outcome import save_model
from fabricfit.optimization.recording import recorded
from fabricfit.optimization.result import OptimizationResult
from fabricfit.optimization.savings import zero_maps
from fabricfit.optimization.trained_design import ParetoPoint, TrainedDesign
from fabricfit.optimization.trained_polish import Polisher
from fabricfit.optimization.trained_setup import TrainedSetup
from fabricfit.optimization.trained_tables import settle_tables
from fabricfit.precision.adders import count_adders
from fabricfit.precision.biases import find_formats
from fabricfit.precision.choice import Choice, choose_point, count_point
from fabricfit.precision.delivery import deliver
from fabricfit.precision.front import Front, Point
from fabricfit.precision.training import train_precision
from fabricfit.reporting.layer_formats import LayerFormats
from fabricfit.reporting.report import LayerReport, Level, OptimizationReport
from fabricfit.run import Recorder
from fabricfit.run.files import GROUPS, HLS_CONFIG, REPORT

__all__ = ["TrainedFront", "fit_trained"]

logger = logging.getLogger(__name__)

_NEAR = 1.25
"""How far a network's adders may be above what was foreseen for them so that it is counted as a whole."""


class TrainedFront:
    """The Pareto front of a training of precision, and the networks that it holds, each built once.

    Parameters
    ----------
    setup
        What the run worked with.
    front
        Its points.
    """

    def __init__(self, setup: TrainedSetup, front: Front) -> None:
        self.setup, self.front = setup, front
        self._choices: dict[int, Choice] = {}
        self._designs: dict[int, TrainedDesign] = {}
        self._polisher = Polisher(setup, self.count)

    @property
    def points(self) -> tuple[ParetoPoint, ...]:
        """All points, the cheapest first."""
        return tuple(
            ParetoPoint(
                point.metric, self._estimate(point), point.epoch + 1, partial(self.build, point)
            )
            for point in self.front
        )

    def build(self, point: Point) -> TrainedDesign:
        """Return the design of a point."""
        if id(point) not in self._designs:
            setup, choice = self.setup, self.count(point)
            counter = setup.counter
            setup.engine.set_weights(point.weights)
            delivery = deliver(setup.made, setup.inputs, counter.strategies, choice.formats)
            settle = partial(settle_tables, data=setup.source, settings=setup.settings)
            self._designs[id(point)] = counter.count(delivery, choice.luts, settle)
        return self._designs[id(point)]

    def count(self, point: Point) -> Choice:
        """Return a point with its number formats and its counted adders."""
        if id(point) not in self._choices:
            setup = self.setup
            found = count_point(setup.made, setup.engine, point, setup.inputs)
            self._choices[id(point)] = found
        return self._choices[id(point)]

    def fit(
        self, place: int, on_step: Callable[[int, int], None] | None = None
    ) -> tuple[Point, TrainedDesign]:
        """Return the best point within one of the run's budgets, and its design.

        Parameters
        ----------
        place
            Of the budget.
        on_step
            Is told how many of how many steps are done.

        Raises
        ------
        InfeasibleError
            There is none.
        """
        setup = self.setup
        limits, luts = setup.limits(setup.budgets[place]), setup.adders[place]

        def fits(choice: Choice) -> bool:
            near = choice.total <= _NEAR * luts  # others cannot fit, and need not be built
            return near and bool((self.build(choice.point).total <= limits).all())

        front = self._polisher.polish_near(self.front, luts, on_step)
        chosen = choose_point(front, luts, self.count, fits, setup.threshold)
        return chosen.point, self.build(chosen.point)

    def _estimate(self, point: Point) -> tuple[float, ...]:
        """Return the estimated usage of a point."""
        pairs = zip(self.setup.counter.resources, self.setup.others, strict=True)
        return tuple(float(other + point.cost * (name == "lut")) for name, other in pairs)


def fit_trained(setup: TrainedSetup) -> list[OptimizationResult | InfeasibleError]:
    """Train once; return what each budget gets: a network, or why there is none.

    The run's own folder has the training, and the result where there is but one budget. With several, each
    has a folder beside the directory of the settings.
    """
    settings, budgets = setup.settings, setup.budgets
    data = (setup.training, setup.validation)
    with recorded(settings, setup.manifest, setup.documents, data) as recorder:
        _record_baseline(setup, recorder)
        front = TrainedFront(setup, _train(setup, recorder))
        if len(budgets) == 1:
            _mark_choosing(recorder, 0, 1)
            return [_conclude(front, 0, recorder, partial(_mark_choosing, recorder))]
        found: list[OptimizationResult | InfeasibleError] = []
        for place, budget in enumerate(budgets):
            _mark_choosing(recorder, place, len(budgets))
            found.append(_conclude_one(front, place, budget, recorder))
        return found


def _mark_choosing(recorder: Recorder, step: int, steps: int) -> None:
    recorder.mark("choosing", step=step, steps=steps)


def _conclude_one(
    front: TrainedFront, place: int, budget: Budget, recorder: Recorder
) -> OptimizationResult | InfeasibleError:
    """Return what one of several budgets gets, in a folder of its own."""
    setup = front.setup
    if place in setup.impossible:
        return setup.impossible[place]
    manifest = {**setup.manifest, "goal": {**setup.manifest["goal"], "budget": repr(budget)}}
    folder = recorder.folder.path.parent.parent / f"budget-{place + 1:02d}"
    own = replace(setup.settings, directory=folder, verbose=False)
    try:
        with recorded(own, manifest, setup.documents) as other:
            _record_baseline(setup, other, budget)
            return _conclude(front, place, other)
    except InfeasibleError as error:
        logger.warning("%r cannot be met: %s", budget, error)
        return error


def _record_baseline(setup: TrainedSetup, recorder: Recorder, budget: Budget | None = None) -> None:
    limits = setup.limits(budget or setup.budgets[0]).tolist()
    logger.info(
        "baseline %s %.5g; %d epochs of training precision; files in %s",
        setup.metric.name, setup.baseline, setup.plan.path.epochs, recorder.folder.path,
    )  # fmt: skip
    recorder.mark(
        "baseline",
        name=setup.metric.name,
        metric=setup.baseline,
        threshold=setup.threshold,
        increasing=setup.settings.increasing,
        units=list(setup.counter.objective.units),
        resources=setup.given.total.tolist(),
        limits=limits,
        target=1.0,
    )


def _train(setup: TrainedSetup, recorder: Recorder) -> Front:
    path = setup.plan.path
    recorder.mark("training", epochs=path.epochs, resources=setup.others.tolist())

    def count() -> float:
        return sum(count_adders(setup.made, find_formats(setup.made, setup.inputs)).values())

    return train_precision(
        setup.made,
        setup.engine,
        setup.training,
        setup.validation,
        setup.metric,
        setup.plan,
        increasing=setup.settings.increasing,
        rng=np.random.default_rng(setup.settings.seed),
        count=count if len(setup.budgets) == 1 else None,
        callbacks=setup.settings.callbacks or (),
        checkpointer=recorder.checkpointer("precision"),
    )


def _conclude(
    front: TrainedFront,
    place: int,
    recorder: Recorder,
    on_step: Callable[[int, int], None] | None = None,
) -> OptimizationResult:
    """Choose a point for a budget; write its model, configuration and report."""
    setup = front.setup
    point, design = front.fit(place, on_step)
    network = design.network
    config = open_configuration(design.hls_config, network)
    loss = setup.engine.hard_loss
    hardware = HardwareMetric(network, config, setup.validation, setup.metric, loss)
    metric = point.metric if hardware.first is None else hardware.first
    report = replace(
        _make_report(front, place, design, metric, recorder.remarks),
        evaluated=hardware.text,
        metric_errors=(math.nan, hardware.errors(metric)[1]),
    )
    recorder.write_state(GROUPS, zero_maps(design.attributes, design.kernels))
    recorder.write_json(HLS_CONFIG, design.hls_config)
    recorder.write_json(REPORT, report.to_dict())
    save_model(recorder, design.model)
    recorder.mark("finished", durable=True, metric=metric, resources=list(report.resources_after))
    return OptimizationResult(
        design.model,
        report,
        recorder.folder.path,
        hls_config=design.hls_config,
        increasing=setup.settings.increasing,
        metric=setup.settings.validation_metric,
        networks=front.points,
    )


def _make_report(
    front: TrainedFront,
    place: int,
    design: TrainedDesign,
    metric: float,
    remarks: Sequence[str] = (),
) -> OptimizationReport:
    setup = front.setup
    before, after = setup.given.total, design.total
    limits = setup.limits(setup.budgets[place])
    levels = [_make_level(setup, point, before, limits) for point in front.points]
    built = describe_built(design.network, design.hls_config, setup.budgets[place])
    return OptimizationReport(
        units=design.units,
        layers=_report_layers(setup, design),
        resources_before=tuple(before.tolist()),
        resources_after=tuple(after.tolist()),
        metric_name=setup.metric.name,
        metric_before=setup.baseline,
        metric_after=metric,
        threshold=setup.threshold,
        sparsity=_saved(before, after),
        levels=tuple(levels),
        budget=tuple(limits.tolist()),
        formats=_list_formats(setup, design),
        highest=tuple(design.highest.tolist()),
        counted=design.counted,
        remarks=(*design.remarks, *remarks),
        timing=built.timing(setup.given.estimate),
        built=built.layers,
        built_for=built.built_for,
    )


def _make_level(
    setup: TrainedSetup, point: ParetoPoint, before: np.ndarray, limits: np.ndarray
) -> Level:
    used = np.array(point.resources)
    return Level(
        _saved(before, used),
        bool((used <= limits).all()),
        point.metric,
        point.resources,
        point.epoch,
        0.0,
        "estimated, in training",
    )


def _saved(before: np.ndarray, after: np.ndarray) -> float:
    """Return the least part of a resource that is saved, of those that were used; at least 0."""
    used = before > 0
    return max(float(np.min(1 - after[used] / before[used])), 0.0) if used.any() else 0.0


def _report_layers(setup: TrainedSetup, design: TrainedDesign) -> tuple[LayerReport, ...]:
    given, kernels = setup.given, setup.network.kernel_arrays()
    names = dict.fromkeys((*given.layers, *design.attributes))
    none = np.zeros(len(design.units))
    found = []
    for name in names:
        before, after = given.layers.get(name, none), design.layers.get(name, none)
        kernel, old = design.kernels.get(name), kernels.get(name)
        if kernel is None and not (np.any(before) or np.any(after)):
            continue
        kind = given.kinds.get(name) or design.attributes[name].layer_type.__name__
        described = design.attributes.get(name)
        layer = name if described is None else described.layer_name
        skipped = setup.made.skipped.get(layer, "")
        found.append(
            LayerReport(
                name,
                kind,
                0 if kernel is None else kernel.size,
                0 if old is None else int(np.count_nonzero(old)),
                0 if kernel is None else int(np.count_nonzero(kernel)),
                tuple(map(float, before)),
                tuple(map(float, after)),
                skipped=skipped,
                built_before=given.built.get(name, ""),
                built_after=design.built.get(name, ""),
            )
        )
    return tuple(found)


def _list_formats(setup: TrainedSetup, design: TrainedDesign) -> tuple[LayerFormats, ...]:
    """Return the bits of each kernel's weights, and the formats of what it multiplies."""
    makers = {name: call.name for name, call in setup.made.makers.items() if call is not None}
    found = []
    for name, product in setup.made.products.items():
        bits, source = enclosed_bits(product.integers).ravel(), product.source
        received = [str(product.inner)] if source is None else design.formats[makers[source.name]]
        found.append(LayerFormats(name, _count(bits.tolist()), _count(received)))
    return tuple(found)


def _count(values: Iterable[Any]) -> tuple[tuple[Any, int], ...]:
    return tuple(sorted(Counter(values).items()))
