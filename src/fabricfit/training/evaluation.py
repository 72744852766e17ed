"""Evaluation of a metric over many samples, prediction and update in one compiled step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import numpy as np

from fabricfit.training.data import tensors
from fabricfit.training.resolve import fresh_metric

__all__ = ["MetricEvaluator"]

logger = logging.getLogger(__name__)


class Predictor(Protocol):
    """Engine, or anything that predicts and compiles like one."""

    model: keras.Model

    def compiled(self, function: Callable[..., Any], *, batches: int) -> Callable[..., Any]:
        """Return a function compiled for the backend; its last ``batches`` arguments are a batch."""

    def forward(self, state: Any, X: Any) -> Any:
        """Return the outputs for a batch."""

    def forward_state(self) -> Any:
        """Return what :meth:`forward` needs beside a batch: the present weights."""

    def predict_batch(self, X: Any) -> Any:
        """Return the outputs for a batch, without tracing anything."""


class MetricEvaluator:
    """Evaluates a metric of an engine's present weights.

    A metric that cannot be compiled, such as a function that turns tensors into arrays, is updated by
    Keras as it is.

    Parameters
    ----------
    engine
        Whose weights are evaluated.
    metric
        The metric. With several outputs it is evaluated for each by itself.
    """

    def __init__(self, engine: Predictor, metric: keras.metrics.Metric) -> None:
        self._engine = engine
        outputs = len(keras.tree.flatten(engine.model.outputs))
        self._metrics = [fresh_metric(metric) for _ in range(outputs)]
        self._compiled = engine.compiled(self._update_compiled, batches=2)
        self._fresh: list[list[Any]] | None = None
        self._compiles: bool | None = None

    def __call__(self, batches: Iterable[tuple[Any, Any]]) -> float:
        """Return the metric over batches of inputs and targets, the mean over the outputs."""
        values, results = self._fresh, None
        for X, y in batches:
            if self._compiles is None:
                values = self._try_compiling(X, y)
            if self._compiles:
                values, results = self._compiled(self._engine.forward_state(), values, X, y)
            else:
                self._update_eagerly(self._engine.predict_batch(X), y)
        if results is None:
            results = [each.result() for each in self._metrics]
            self._reset_metrics()
        return float(np.mean([np.mean(keras.ops.convert_to_numpy(each)) for each in results]))

    def _try_compiling(self, X: Any, y: Any) -> list[list[Any]]:
        """Find out whether the metric can be compiled; return the initial values of its variables."""
        if not all(each.variables for each in self._metrics):  # some are made by the first update
            self._update_eagerly(self._engine.predict_batch(X), y)
        self._reset_metrics()
        self._fresh = [
            [tensors(keras.ops.convert_to_numpy(v)) for v in each.variables]
            for each in self._metrics
        ]
        try:
            self._compiled(self._engine.forward_state(), self._fresh, X, y)
            self._compiles = True
        except Exception as error:  # whatever a user's metric may raise in a graph
            logger.info("metric %r is not compiled: %s", self._metrics[0].name, error)
            self._compiles = False
        return self._fresh

    def _reset_metrics(self) -> None:
        for each in self._metrics:
            each.reset_state()

    def _update_compiled(
        self, state: Any, values: list[list[Any]], X: Any, y: Any
    ) -> tuple[list[list[Any]], list[Any]]:
        outputs = keras.tree.flatten(self._engine.forward(state, X))
        updated = [
            list(each.stateless_update_state(own, target, output))
            for each, own, target, output in zip(
                self._metrics, values, keras.tree.flatten(y), outputs, strict=True
            )
        ]
        pairs = zip(self._metrics, updated, strict=True)
        return updated, [each.stateless_result(own) for each, own in pairs]

    def _update_eagerly(self, outputs: Any, y: Any) -> None:
        flat = (keras.tree.flatten(y), keras.tree.flatten(outputs))
        for each, target, output in zip(self._metrics, *flat, strict=True):
            each.update_state(target, output)
