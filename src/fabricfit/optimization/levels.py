"""Level of a run in an engine: the choice, the masks, and the metric after pruning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fabricfit.choices import Treatment
from fabricfit.choices.ranking import get_criterion
from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InfeasibleError
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.reader import Network
from fabricfit.optimization.ranking_statistics import RankingStatistics
from fabricfit.samples import Data, Dataset
from fabricfit.selection.targets import Chosen, Target
from fabricfit.training import Engine
from fabricfit.training.data_ranges import DataRanges

__all__ = ["LevelSelector"]

_STREAM_SAMPLES = 2**14
"""Samples of a stream on which gradients and curvature are computed."""

_EVALUATION_SAMPLES = 2**12
"""Samples on which they are computed where a choice is only to be evaluated."""

_PART_OF_SAMPLES = 0.25
"""Part of the samples that a bounded price allows, where a choice is only to be evaluated."""

_RECOUNTS = 4
"""How often a level is chosen anew where pruning itself makes what is kept cheaper."""

_NEAR = 0.01
"""Part of the usage by which that may differ."""

_PARTS_OF_TARGET = (1.0, 0.75, 0.5)
_LOWER_LEVELS = (0.95, 0.9, 0.8, 0.65, 0.5, 0.25)


class LevelSelector:
    """Chooses the treatments of an engine's weights at a level, and freezes those that are pruned or shared.

    Parameters
    ----------
    target
        What a level allows, and what is best there.
    attributes
        Layer -> attributes, ``optimizable`` set as decided.
    loss_fn
        The loss whose derivatives rank weights.
    criterion
        Name of a ranking criterion, or the criterion.
    data
        Samples for the derivatives.
    before_pruning
        Called with the treatments of a level before they are applied.
    after_pruning
        Called when an engine's weights have been pruned, before they are evaluated or trained.
    ranges
        Called behind that: measures ranges that follow the data, on which the bits of numbers depend.
    curvature_samples
        Samples for second derivatives; None to follow the price of training.
    """

    def __init__(
        self,
        target: Target,
        attributes: Mapping[str, LayerAttributes],
        loss_fn: ModelLoss | Any,
        criterion: Any,
        data: Dataset,
        before_pruning: Callable[[Mapping[str, Treatment]], None] | None = None,
        after_pruning: Callable[[], None] | None = None,
        ranges: DataRanges | None = None,
        curvature_samples: int | None = None,
    ) -> None:
        self.target = target
        self._attributes = attributes
        self.statistics = RankingStatistics(
            loss_fn, get_criterion(criterion).needs, attributes, curvature_samples
        )
        self._before_pruning = before_pruning or _do_nothing
        self._calibrations = [each for each in (after_pruning, ranges) if each is not None]
        self._recounts = _RECOUNTS if ranges is not None and ranges.does_something else 0
        self._data = data.arrays(_STREAM_SAMPLES)
        self._few = _thin(self._data, _EVALUATION_SAMPLES)

    @property
    def derivatives(self) -> str:
        """How the second derivatives were last computed, and how exactly."""
        return self.statistics.description

    def freeze(
        self, engine: Engine, level: float, spare: np.ndarray | None = None
    ) -> tuple[float, ...]:
        """Choose at a level and freeze what is not to train on; return the resources that remain.

        Parameters
        ----------
        engine
            Its present weights are what is chosen from.
        level
            How far to go.
        spare
            What to leave unused of each resource.

        Raises
        ------
        InfeasibleError
            No choice is within what the level allows.
        """
        kernels = engine.network.optimizable_kernels(self._attributes)
        statistics = self.statistics.compute(engine.network, kernels, self._data)
        weights = engine.get_weights()
        chosen = self.target.choose(kernels, level, statistics, spare)
        self._apply(engine, chosen)
        aim = used = chosen.utilization
        for _ in range(self._recounts):
            # With narrower ranges of data, all that meets them uses less, and more of it can stay.
            used = self._count(engine.network)
            if (np.abs(aim - used) <= _NEAR * aim).all():
                break
            spare = (0 if spare is None else spare) - (aim - used)
            engine.set_weights(weights)
            kernels = engine.network.optimizable_kernels(self._attributes)
            chosen = self.target.choose(kernels, level, statistics, spare)
            self._apply(engine, chosen)
        return tuple(float(value) for value in used)

    def _apply(self, engine: Engine, chosen: Chosen) -> None:
        """Freeze what is chosen in an engine, and treat its weights."""
        self._before_pruning(chosen.treatments)
        engine.projection.update(chosen.masks, chosen.offsets, chosen.clusters)
        engine.set_weights(engine.projection.treated(engine.get_weights(), chosen.treatments))
        self._calibrate()

    def _calibrate(self) -> None:
        for calibrate in self._calibrations:
            calibrate()

    def _count(self, network: Network) -> np.ndarray:
        kernels = network.counted_kernels(self._attributes)
        return self.target.objective.model_usage(self._attributes, kernels)

    def make_evaluator(
        self, level: float, validation: Dataset, metric: ModelMetric
    ) -> Callable[[Engine], float]:
        """Return an evaluator of an engine's present weights after pruning: a mean of the metric.

        The weights are pruned to the target and to two levels on the way there, without training. The
        target alone would not do: without training, the metric at a far one is that of chance.
        Only where a choice is made weight by weight, which is slow, the target alone is used.

        Parameters
        ----------
        level
            The target. Where it cannot be reached, or would leave next to nothing (more than 0.95 of the
            resources saved), a lower one is used.
        validation, metric
            What is measured, on at most 4,096 of the samples.
        """
        parts = _PARTS_OF_TARGET[:1] if self.target.decides_each_weight else _PARTS_OF_TARGET
        few = _thin(validation.arrays(_STREAM_SAMPLES), _EVALUATION_SAMPLES)
        lower = [level, *(each for each in _LOWER_LEVELS if each < level)]
        if not self.target.is_budget and level > _LOWER_LEVELS[0]:
            lower = lower[1:]

        def evaluate(engine: Engine) -> float:
            weights = engine.get_weights()
            kernels = engine.network.optimizable_kernels(self._attributes)
            statistics = self.statistics.compute(
                engine.network, kernels, self._few, _PART_OF_SAMPLES
            )

            def measure(level: float) -> float:
                chosen = self.target.choose(kernels, level, statistics, roughly=True)
                engine.set_weights(engine.projection.treated(weights, chosen.treatments))
                self._calibrate()
                return engine.evaluate(few, metric)

            try:
                while True:
                    try:
                        return float(np.mean([measure(part * lower[0]) for part in parts]))
                    except InfeasibleError:
                        if len(lower) == 1:
                            raise
                        del lower[0]  # for all that is evaluated after this, too
            finally:
                engine.set_weights(weights)

        return evaluate


def _do_nothing(*_: Any) -> None:
    """Do nothing."""


def _thin(data: Data, most: int) -> Data:
    """Return at most so many of the samples, evenly spaced."""
    if len(data) <= most:
        return data
    return data.take(np.linspace(0, len(data) - 1, most).astype(int))
