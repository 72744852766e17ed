"""A metric over many samples, with prediction and counting in one compiled step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import numpy as np

from fabricfit.training.data import tensors
from fabricfit.training.resolve import fresh_metric

__all__ = ["Judge"]

logger = logging.getLogger(__name__)


class Predictor(Protocol):
    """What is evaluated: an engine, or anything that predicts and compiles like one."""

    model: keras.Model

    def compiled(self, function: Callable[..., Any], *, batches: int) -> Callable[..., Any]:
        """Return a function compiled for the backend; its last ``batches`` arguments are a batch."""

    def forward(self, state: Any, X: Any) -> Any:
        """Return the outputs for a batch."""

    def forward_state(self) -> Any:
        """Return what :meth:`forward` needs beside a batch: the present weights."""

    def predict_batch(self, X: Any) -> Any:
        """Return the outputs for a batch, without tracing anything."""


class Judge:
    """Measures a metric of an engine's present weights.

    A metric that cannot be compiled, such as a function that turns tensors into arrays, is updated by
    Keras as it is.

    Parameters
    ----------
    engine
        Whose weights are judged.
    metric
        What is measured. With several outputs each is measured by itself.
    """

    def __init__(self, engine: Predictor, metric: keras.metrics.Metric) -> None:
        self._engine = engine
        outputs = len(keras.tree.flatten(engine.model.outputs))
        self._own = [fresh_metric(metric) for _ in range(outputs)]
        self._compiled = engine.compiled(self._update, batches=2)
        self._fresh: list[list[Any]] | None = None
        self._sound: bool | None = None

    def __call__(self, batches: Iterable[tuple[Any, Any]]) -> float:
        """Return the metric over batches of inputs and targets, the mean over the outputs."""
        values, results = self._fresh, None
        for X, y in batches:
            if self._sound is None:
                values = self._try(X, y)
            if self._sound:
                values, results = self._compiled(self._engine.forward_state(), values, X, y)
            else:
                self._count(self._engine.predict_batch(X), y)
        if results is None:
            results = [each.result() for each in self._own]
            self._reset()
        return float(np.mean([np.mean(keras.ops.convert_to_numpy(each)) for each in results]))

    def _try(self, X: Any, y: Any) -> list[list[Any]]:
        """Find out whether the metric can be compiled; return what its variables begin with."""
        if not all(each.variables for each in self._own):  # some are made by the first update
            self._count(self._engine.predict_batch(X), y)
        self._reset()
        self._fresh = [
            [tensors(keras.ops.convert_to_numpy(v)) for v in each.variables] for each in self._own
        ]
        try:
            self._compiled(self._engine.forward_state(), self._fresh, X, y)
            self._sound = True
        except Exception as error:  # whatever a user's metric may raise in a graph
            logger.info("metric %r is not compiled: %s", self._own[0].name, error)
            self._sound = False
        return self._fresh

    def _reset(self) -> None:
        for each in self._own:
            each.reset_state()

    def _update(
        self, state: Any, values: list[list[Any]], X: Any, y: Any
    ) -> tuple[list[list[Any]], list[Any]]:
        outputs = keras.tree.flatten(self._engine.forward(state, X))
        updated = [
            list(each.stateless_update_state(own, target, output))
            for each, own, target, output in zip(
                self._own, values, keras.tree.flatten(y), outputs, strict=True
            )
        ]
        pairs = zip(self._own, updated, strict=True)
        return updated, [each.stateless_result(own) for each, own in pairs]

    def _count(self, outputs: Any, y: Any) -> None:
        flat = (keras.tree.flatten(y), keras.tree.flatten(outputs))
        for each, target, output in zip(self._own, *flat, strict=True):
            each.update_state(target, output)
