"""Training of weights and precision together, along a path of costs; what comes out is a Pareto front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fabricfit.losses import ModelMetric
from fabricfit.precision.cost import estimate_luts, total_bits
from fabricfit.precision.front import Front, Point
from fabricfit.precision.layers import TrainedFormat, TrainedWeights
from fabricfit.precision.model import PrecisionModel
from fabricfit.precision.steering import (
    CostPath,
    RateCycles,
    first_price,
    highest_price,
    next_price,
)
from fabricfit.run import Checkpointer
from fabricfit.samples import Dataset
from fabricfit.training.engine import Engine
from fabricfit.training.fine_tuning import check_finite, pack_training, restore_training

__all__ = ["PrecisionTraining", "train_precision"]

_BITS_BELOW, _BITS_ABOVE = 8, 6
"""How far trained bits may go from where they started."""


@dataclass(frozen=True)
class PrecisionTraining:
    """How precision is trained.

    Parameters
    ----------
    path
        The cost of each epoch.
    rates
        The learning rate of each epoch.
    batch_size
        Samples in a step.
    first_kept
        Epochs before the first point of the front.
    """

    path: CostPath
    rates: RateCycles = field(default_factory=RateCycles)
    batch_size: int = 1024
    first_kept: int = 8


@dataclass
class _State:
    """What of the steering the next epoch depends on.

    Parameters
    ----------
    epoch
        Epochs that are done.
    price
        The price of a bit of a weight times a bit of an input.
    cost, loss
        Estimated cost and mean loss of the last epoch.
    first_loss
        Mean loss of the first epoch, which sets the scale of prices.
    counted
        The cost as it is counted in the end, in terms of the estimate.
    """

    epoch: int = 0
    price: float = 0.0
    cost: float = 0.0
    loss: float = 0.0
    first_loss: float = 0.0
    counted: float = 1.0


def train_precision(
    made: PrecisionModel,
    engine: Engine,
    data: Dataset,
    validation: Dataset,
    metric: ModelMetric,
    settings: PrecisionTraining,
    *,
    increasing: bool,
    rng: np.random.Generator,
    count: Callable[[], float] | None = None,
    checkpointer: Checkpointer | None = None,
) -> Front:
    """Train weights and their precision, and keep the Pareto front of all epochs.

    Parameters
    ----------
    made
        The model that trains its precision.
    engine
        What trains it.
    data, validation
        Samples to train on, and to evaluate the quantized network on.
    metric
        The validation metric.
    settings
        Path of costs, learning rates and batches.
    increasing
        Whether a larger metric is better.
    rng
        Shuffles the samples.
    count
        Returns the cost as it is counted in the end. Where the path is level, estimates are brought to it
        after each cycle.
    checkpointer
        Saves the training between two epochs, every N seconds, and holds the state to resume from.

    Raises
    ------
    TrainingDivergedError
        The loss or the metric is no longer finite.
    """
    path, front, state = settings.path, Front(increasing), _State()
    if checkpointer is not None and checkpointer.state is not None:
        front, state = _restore_state(engine, rng, increasing, checkpointer.state)
    for epoch in range(state.epoch, path.epochs):
        if epoch:
            bits, cost = total_bits(made), state.cost * state.counted
            price = state.price or first_price(state.first_loss, bits)
            price = next_price(price, cost, path.target(epoch), path.epochs)
            state.price = min(price, highest_price(state.first_loss, bits))
        made.price.value.assign(state.price)
        engine.optimizer.learning_rate.assign(settings.rates.rate(epoch))
        state.loss = engine.train_epoch(data, data.order(rng), settings.batch_size)
        state.first_loss = state.first_loss if epoch else state.loss
        _keep_in_range(made)
        value, state.cost = engine.evaluate(validation, metric), estimate_luts(made)
        check_finite(epoch, state.loss, value, metric)
        if epoch >= settings.first_kept or epoch == path.epochs - 1:
            front.offer(value, state.cost, epoch, engine.get_weights)
        ends_cycle = (epoch + 1) % settings.rates.length == 0
        goes_on = epoch + 1 < path.epochs and path.is_level(epoch + 1)
        if count is not None and ends_cycle and goes_on:
            state.counted = count() / max(state.cost, 1.0)
        state.epoch = epoch + 1
        if checkpointer is not None:
            checkpointer.mark("epoch", epoch=epoch, loss=state.loss, metric=value, cost=state.cost)
            if checkpointer.is_due:
                checkpointer.save(_pack_state(engine, rng, front, state))
    if checkpointer is not None:
        checkpointer.save(_pack_state(engine, rng, front, state))
    return front


def _keep_in_range(made: PrecisionModel) -> None:
    """Bring trained bits back to a range around their start: far from it they would be slow to return."""
    layers: tuple[TrainedWeights | TrainedFormat, ...]
    layers = (*made.weights.values(), *made.formats.values())
    for layer in {id(each): each for each in layers}.values():
        least, most = layer.start - _BITS_BELOW, layer.start + _BITS_ABOVE
        for bits in layer.trained_bits:
            values = keras.ops.convert_to_numpy(bits)
            if values.min() < least or values.max() > most:
                bits.assign(np.clip(values, least, most))


def _pack_state(
    engine: Engine, rng: np.random.Generator, front: Front, state: _State
) -> dict[str, Any]:
    return {
        **pack_training(engine, rng),
        "front": [[p.metric, p.cost, p.epoch, p.weights] for p in front.points],
        "steering": dict(vars(state)),
    }


def _restore_state(
    engine: Engine, rng: np.random.Generator, increasing: bool, state: dict[str, Any]
) -> tuple[Front, _State]:
    """Put engine and generator where :func:`_pack_state` found them; return the rest."""
    restore_training(engine, rng, state)
    points = [Point(*point) for point in state["front"]]
    return Front(increasing, points), _State(**state["steering"])
