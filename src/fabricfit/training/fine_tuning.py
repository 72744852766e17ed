"""Stretch of training: some epochs, the caller's callbacks, and an early end where more would not help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import FabricFitError
from fabricfit.losses import ModelMetric
from fabricfit.run import Checkpointer
from fabricfit.samples import Dataset
from fabricfit.training.callbacks import Watchers
from fabricfit.training.engine import Engine, EngineState

__all__ = [
    "StretchOutcome",
    "TrainingDivergedError",
    "better",
    "check_finite",
    "pack_training",
    "restore_training",
    "train",
]


_SETTLED_CHANGE = 1e-3
"""A metric has settled when it changes by less than this part of it."""


class TrainingDivergedError(FabricFitError, ArithmeticError):
    """The loss or the metric became NaN or infinite; the weights cannot be used."""


@dataclass(frozen=True)
class StretchOutcome:
    """Outcome of a stretch of training.

    Parameters
    ----------
    metric
        The validation metric of the weights that are now in the model.
    losses
        Mean training loss of each epoch.
    """

    metric: float
    losses: tuple[float, ...]


def better(value: float, than: float, increasing: bool) -> bool:
    """Whether one value of a metric is strictly better than another."""
    return value > than if increasing else value < than


def train(
    engine: Engine,
    data: Dataset,
    validation: Dataset,
    metric: ModelMetric,
    *,
    increasing: bool,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    keep_best: bool = True,
    patience: int | None = None,
    needed: float | None = None,
    enough: float | None = None,
    after_epoch: Callable[[], None] | None = None,
    checkpointer: Checkpointer | None = None,
) -> StretchOutcome:
    """Train for some epochs, fewer where more would not help.

    With a patience, the training ends as soon as one of these is true:

    - the metric is ``enough``;
    - the metric is good enough, and has settled: in the last ``patience`` epochs its best value has become
      better by less than one part in a thousand;
    - it cannot become good enough: if every epoch that is left gained as much as the best one so far,
      ``needed`` would still not be reached.

    Parameters
    ----------
    engine
        What trains; its masks are applied throughout.
    data, validation
        Samples to train on and to evaluate on.
    metric
        The validation metric.
    increasing
        Whether a larger metric is better.
    epochs, batch_size
        Passes over the data, and samples in a step.
    rng
        Shuffles the samples.
    callbacks
        Keras callbacks. They see what Keras' ``fit`` shows them, but for metrics on the training data: the
        beginning and the end of the training, of every epoch and, if one of them watches batches, of every
        batch; ``loss``, ``val_loss`` and ``val_<metric>`` in the logs. They may set ``model.stop_training``,
        weights, and the learning rate of ``model.optimizer``. Weights that a callback sets at the end are
        those that the training ends with.
    keep_best
        End with the weights of the epoch that was best by the metric, not of the last one.
    patience
        Epochs that are looked back on; None to train all.
    needed
        The metric that has to be reached, if there is such a value.
    enough
        The metric that is good enough to stop at, if there is such a value.
    after_epoch
        Called before the weights of an epoch are evaluated.
    checkpointer
        Saves the training between two epochs, every N seconds, and holds the state to resume from.

    Raises
    ------
    TrainingDivergedError
        The loss or the metric is no longer finite.
    """
    watchers = Watchers(
        callbacks,
        engine,
        metric,
        increasing=increasing,
        data=data,
        epochs=epochs,
        batch_size=batch_size,
    )
    engine.model.stop_training = False
    best_metric, best_weights = np.nan, engine.get_weights()
    losses: list[float] = []
    records: list[float] = []
    is_over = False
    if watchers.begin():
        best_weights = engine.get_weights()
    if checkpointer is not None and checkpointer.state is not None:
        best_metric, best_weights, losses, records, is_over = _restore_state(
            engine, rng, checkpointer.state
        )
        checkpointer.restore_attached()
    for epoch in range(len(losses), 0 if is_over else epochs):
        watchers.begin_epoch(epoch)
        loss = watchers.train_epoch(data, data.order(rng))
        if after_epoch is not None:
            after_epoch()
        value = watchers.evaluate(validation)
        check_finite(epoch, loss, value, metric)
        losses.append(loss)
        if watchers.end_epoch(epoch, loss):
            value = engine.evaluate(validation, metric)
        if checkpointer is not None:
            checkpointer.mark("epoch", epoch=epoch, loss=loss, metric=value)
        if not keep_best or np.isnan(best_metric) or better(value, best_metric, increasing):
            best_metric, best_weights = value, engine.get_weights()
        records.append(
            value if not records or better(value, records[-1], increasing) else records[-1]
        )
        if engine.model.stop_training:
            break
        if patience is not None and (
            (enough is not None and not better(enough, records[-1], increasing))
            or _is_over(records, epochs, patience, needed, increasing)
        ):
            break
        if checkpointer is not None and checkpointer.is_due:
            checkpointer.save(_pack_state(engine, rng, best_metric, best_weights, losses, records))
    if checkpointer is not None and checkpointer.is_due:
        checkpointer.save(
            _pack_state(engine, rng, best_metric, best_weights, losses, records, is_over=True)
        )
    engine.set_weights(best_weights)
    if watchers.end() or not losses:
        best_metric = engine.evaluate(validation, metric)
    return StretchOutcome(float(best_metric), tuple(losses))


def check_finite(epoch: int, loss: float, value: float, metric: ModelMetric) -> None:
    """Raise a :class:`TrainingDivergedError` where the loss or the metric of an epoch is not finite."""
    if not (np.isfinite(loss) and np.isfinite(value)):
        raise TrainingDivergedError(
            f"in epoch {epoch + 1} the loss became {loss} and {metric.name} {value}"
        )


def pack_training(engine: Engine, rng: np.random.Generator) -> dict[str, Any]:
    """Return all that the next epoch depends on: the states of an engine, and what shuffles the samples."""
    state = engine.get_state()
    return {
        "weights": state.weights,
        "optimizer": state.optimizer,
        "random": engine.get_random(),
        "order": rng.bit_generator.state,
    }


def restore_training(engine: Engine, rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Put engine and generator where :func:`pack_training` found them."""
    engine.set_state(EngineState(state["weights"], state["optimizer"]))
    engine.set_random(state["random"])
    rng.bit_generator.state = state["order"]


def _pack_state(
    engine: Engine,
    rng: np.random.Generator,
    best_metric: float,
    best_weights: list[np.ndarray],
    losses: list[float],
    records: list[float],
    *,
    is_over: bool = False,
) -> dict[str, Any]:
    return {
        **pack_training(engine, rng),
        "best": [float(best_metric), best_weights],
        "losses": [float(loss) for loss in losses],
        "records": [float(record) for record in records],
        "is_over": is_over,
    }


def _restore_state(
    engine: Engine, rng: np.random.Generator, state: dict[str, Any]
) -> tuple[float, list[np.ndarray], list[float], list[float], bool]:
    """Put engine and generator where :func:`_pack_state` found them; return the rest."""
    restore_training(engine, rng, state)
    return *state["best"], state["losses"], state["records"], state["is_over"]


def _is_over(
    records: list[float],
    epochs: int,
    patience: int,
    needed: float | None,
    increasing: bool,
) -> bool:
    """Whether the metric has settled, or cannot become good enough: see :func:`train`.

    The records are the best metric so far after each epoch.
    """
    if len(records) <= patience:
        return False
    best, gains = records[-1], np.abs(np.diff(records))
    if needed is None or not better(needed, best, increasing):
        return bool(gains[-patience:].sum() < _SETTLED_CHANGE * abs(best))
    left = epochs - len(records)
    reach = best + (1 if increasing else -1) * left * gains.max()
    return better(needed, reach, increasing)
