"""Keras' callbacks while an engine trains: they see what Keras' ``fit`` shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from fabricfit.losses import ModelMetric
from fabricfit.samples import Dataset, samples_in
from fabricfit.training.engine import Engine

__all__ = ["Watchers", "show_trial"]

_TRAIN_BATCH = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


class Watchers:
    """Callbacks of a stretch of training, which may be none.

    Parameters
    ----------
    callbacks
        The caller's.
    engine
        What trains.
    metric
        The validation metric.
    increasing
        Whether a larger metric is better.
    data
        The samples to train on.
    epochs, batch_size
        Passes over the data, and samples in a step.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        engine: Engine,
        metric: ModelMetric,
        *,
        increasing: bool,
        data: Dataset,
        epochs: int,
        batch_size: int,
    ) -> None:
        self._callbacks = list(callbacks)
        self._engine = engine
        self._metric = metric
        self._mode = "max" if increasing else "min"
        self._batch_size = batch_size
        self._by_batches = any(map(_watches_batches, self._callbacks))
        self._logs: dict[str, float] = {}
        if callbacks:
            _lend_optimizer(engine)
        self._list = keras.callbacks.CallbackList(
            list(callbacks),
            model=engine.model,
            verbose=0,
            epochs=epochs,
            steps=None if data.size is None else math.ceil(data.size / batch_size),
        )

    def begin(self) -> bool:
        """Let them see the beginning of the training; return whether they have changed weights."""
        with self._know_direction(), self._note_changes() as changed:
            self._list.on_train_begin()
        return bool(changed)

    def begin_epoch(self, epoch: int) -> None:
        """Let them see the beginning of an epoch."""
        self._list.on_epoch_begin(epoch)

    def train_epoch(self, data: Dataset, order: np.ndarray | None) -> float:
        """Train on all samples once; batch by batch only where a callback watches batches."""
        if not self._by_batches:
            return self._engine.train_epoch(data, order, self._batch_size)
        model, total, count = self._engine.model, 0.0, 0
        for number, (X, y) in enumerate(data.batches(self._batch_size, order)):
            self._list.on_train_batch_begin(number)
            size = samples_in(X)
            total, count = total + size * self._engine.step(X, y), count + size
            self._list.on_train_batch_end(number, {"loss": total / count})
            if model.stop_training:
                break
        return total / count

    def evaluate(self, validation: Dataset) -> float:
        """Return the validation metric; callbacks see it and the loss, as in Keras' ``evaluate``."""
        if not self._callbacks:
            return self._engine.evaluate(validation, self._metric)
        self._list.on_test_begin()
        value, loss = self._engine.evaluate_with_loss(validation, self._metric)
        found = {"loss": loss, self._metric.name: value}
        self._list.on_test_end(found)
        self._logs = {f"val_{name}": each for name, each in found.items()}
        return value

    def end_epoch(self, epoch: int, loss: float) -> bool:
        """Let them see the end of an epoch; return whether they have changed weights."""
        self._logs = {"loss": loss, **self._logs}
        with self._know_direction(), self._note_changes() as changed:
            self._list.on_epoch_end(epoch, self._logs)
        return bool(changed)

    def end(self) -> bool:
        """Let them see the end of the training; return whether they have changed weights."""
        with self._note_changes() as changed:
            self._list.on_train_end(self._logs)
        return bool(changed)

    @contextmanager
    def _know_direction(self) -> Iterator[None]:
        """Tell callbacks that monitor the metric, and leave its direction to Keras, which one is better.

        Keras looks for it in the metrics that a model is compiled with.
        """
        names = {self._metric.name, f"val_{self._metric.name}"} - {"loss", "val_loss"}
        asking = [
            each
            for each in self._callbacks
            if getattr(each, "mode", None) == "auto" and getattr(each, "monitor", None) in names
        ]
        for each in asking:
            each.mode = self._mode
        try:
            yield
        finally:
            for each in asking:
                each.mode = "auto"

    @contextmanager
    def _note_changes(self) -> Iterator[list[bool]]:
        """Note whether weights change meanwhile; those that are frozen keep their values all the same."""
        changed: list[bool] = []
        before = self._engine.get_weights() if self._callbacks else []
        yield changed
        if self._callbacks:
            after = self._engine.get_weights()
            if not all(map(np.array_equal, before, after)):
                self._engine.project_weights()
                changed.append(True)


def show_trial(
    callbacks: Sequence[keras.callbacks.Callback],
    engine: Engine,
    metric_name: str,
    *,
    number: int,
    epochs: int,
    loss: float,
    metric: float,
) -> None:
    """Let callbacks see a trial of a search as a training with one epoch, its last.

    Parameters
    ----------
    callbacks
        The caller's.
    engine
        What trained.
    metric_name
        Name of the metric.
    number
        Counts trials from 0: ``trial`` in the logs.
    epochs
        Epochs that the trial has had.
    loss, metric
        Its last loss, and its validation metric after pruning to the target.
    """
    if not callbacks:
        return
    _lend_optimizer(engine)
    listed = keras.callbacks.CallbackList(
        list(callbacks), model=engine.model, verbose=0, epochs=epochs
    )
    logs = {"loss": float(loss), f"val_{metric_name}": float(metric), "trial": number}
    listed.on_train_begin()
    listed.on_epoch_begin(epochs - 1)
    listed.on_epoch_end(epochs - 1, logs)
    listed.on_train_end(logs)


def _lend_optimizer(engine: Engine) -> None:
    """Give the model an optimizer, for callbacks that read or change the learning rate, if it has none."""
    if not engine.model.compiled:  # unnoticed by the model's own tracking
        object.__setattr__(engine.model, "optimizer", engine.optimizer)


def _watches_batches(callback: Any) -> bool:
    """Whether a callback does something at the beginning or end of a batch."""
    if getattr(callback, "save_freq", None) == "epoch":  # Keras' own, which then do nothing there
        return False
    return any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(keras.callbacks.Callback, name)
        for name in _TRAIN_BATCH
    )
