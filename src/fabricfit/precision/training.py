"""Training of weights and precision together, along a path of costs; what comes out is a Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fabricfit.losses import ModelMetric
from fabricfit.precision.cost import estimate_costs
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
from fabricfit.samples import Data, Dataset
from fabricfit.training.callbacks import Watchers
from fabricfit.training.engine import Engine
from fabricfit.training.fine_tuning import check_finite, pack_training, restore_training

__all__ = ["PrecisionTraining", "train_precision"]

_HEAD = 256
"""Samples by which a network is known to be alive."""

_RELIEF = 0.2
"""What is left of the price after an epoch that let a layer die, which is undone."""

_BITS_BELOW, _BITS_ABOVE = 8, 6
"""How far trained bits may go from where they started."""

_BITS_BELOW_WHOLE = 3
"""How far those of a whole tensor may fall: to where its last bit is as large as its numbers usually are."""


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
    pace
        How far bits go in an epoch, in terms of what the optimizer does: above 1 where there are so few steps
        that they would not arrive.
    """

    path: CostPath
    rates: RateCycles = field(default_factory=RateCycles)
    batch_size: int = 1024
    first_kept: int = 8
    pace: float = 1.0


@dataclass
class _State:
    """What of the steering the next epoch depends on.

    Parameters
    ----------
    epoch
        Epochs that are done.
    price
        The price of a bit of a weight times a bit of an input.
    cost, bits, loss
        Estimated cost, bits that a price is paid for, and mean loss of the last epoch.
    first_loss
        Mean loss of the first epoch, which sets the scale of prices.
    counted
        The cost as it is counted in the end, in terms of the estimate.
    cost_before, target_before
        The estimated cost before the last epoch, and the last target.
    """

    epoch: int = 0
    price: float = 0.0
    cost: float = 0.0
    bits: float = 0.0
    loss: float = 0.0
    first_loss: float = 0.0
    counted: float = 1.0
    cost_before: float = 0.0
    target_before: float = 0.0

    def fell(self, target: float) -> float:
        """Return by how much more than the target the cost fell in the last epoch, both as logarithms."""
        before, self.target_before = self.target_before, target
        if not (before and self.cost_before and self.cost):
            return 0.0
        return math.log(self.cost_before / self.cost) - math.log(before / target)


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
    callbacks: Sequence[keras.callbacks.Callback] = (),
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
    callbacks
        Keras callbacks; they see what Keras' ``fit`` shows them of validation, and the loss with the price.
    checkpointer
        Saves the training between two epochs, every N seconds, and holds the state to resume from.

    Raises
    ------
    TrainingDivergedError
        The loss or the metric is no longer finite.
    """
    path, front, state = settings.path, Front(increasing), _State()
    watchers = Watchers(
        callbacks,
        engine,
        metric,
        increasing=increasing,
        data=data,
        epochs=path.epochs,
        batch_size=settings.batch_size,
    )
    engine.model.stop_training = False
    watchers.begin()
    if checkpointer is not None and checkpointer.state is not None:
        front, state = _restore_state(engine, rng, increasing, checkpointer.state)
        checkpointer.restore_attached()
    layers, alive, head = _list_layers(made), engine.get_state(), validation.head(_HEAD)
    for epoch in range(state.epoch, path.epochs):
        if epoch:
            cost = state.cost * state.counted
            price = state.price or first_price(state.first_loss, state.bits)
            target, fell = path.target(epoch), state.fell(path.target(epoch))
            price = next_price(price, cost, target, path.epochs, fell=fell)
            state.price = min(price, highest_price(state.first_loss, state.bits))
        made.price.value.assign(state.price)
        engine.optimizer.learning_rate.assign(settings.rates.rate(epoch))
        bits_before = [_read_bits(layer) for layer in layers]
        watchers.begin_epoch(epoch)
        state.loss = watchers.train_epoch(data, data.order(rng))
        state.first_loss = state.first_loss if epoch else state.loss
        for layer, old in zip(layers, bits_before, strict=True):
            _move_bits(layer, old, settings.pace)
        if not _is_alive(engine, head):
            engine.set_state(alive)
            state.price *= _RELIEF
        alive = engine.get_state()
        state.cost_before = state.cost
        value = watchers.evaluate(validation)
        check_finite(epoch, state.loss, value, metric)
        if watchers.end_epoch(epoch, state.loss):
            value = engine.evaluate(validation, metric)
        costs = estimate_costs(made).values()
        state.cost, state.bits = sum(c.luts for c in costs), sum(c.bits for c in costs)
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
        if engine.model.stop_training:
            break
    watchers.end()
    if checkpointer is not None:
        checkpointer.save(_pack_state(engine, rng, front, state))
    return front


def _is_alive(engine: Engine, head: Data) -> bool:
    """Return whether outputs depend on inputs: a network that lost all numbers in between would stay so."""
    outputs = keras.tree.flatten(engine.predict_batch(head.X))
    return all(np.ptp(keras.ops.convert_to_numpy(each), axis=0).any() for each in outputs)


def _list_layers(made: PrecisionModel) -> list[TrainedWeights | TrainedFormat]:
    """Return the layers that train bits, each once."""
    layers: tuple[TrainedWeights | TrainedFormat, ...]
    layers = (*made.weights.values(), *made.formats.values())
    return list({id(each): each for each in layers}.values())


def _read_bits(layer: TrainedWeights | TrainedFormat) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(bits) for bits in layer.trained_bits]


def _move_bits(
    layer: TrainedWeights | TrainedFormat, before: list[np.ndarray], pace: float
) -> None:
    """Move bits as much further as the pace says, but no further than a range around their start.

    Far from it they would be slow to return.
    """
    whole = isinstance(layer, TrainedFormat) and layer.channels == 1
    below = _BITS_BELOW_WHOLE if whole else _BITS_BELOW
    least, most = layer.start - below, layer.start + _BITS_ABOVE
    for bits, old, new in zip(layer.trained_bits, before, _read_bits(layer), strict=True):
        moved = old + pace * (new - old) if pace != 1 else new
        if pace != 1 or moved.min() < least or moved.max() > most:
            bits.assign(np.clip(moved, least, most))


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
