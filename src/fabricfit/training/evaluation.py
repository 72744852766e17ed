"""Evaluation of a metric over many samples, prediction and update in one compiled step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import numpy as np

from fabricfit.losses import ModelLoss, ModelMetric, fresh_metric
from fabricfit.network.ends import Ends, Targets
from fabricfit.samples import tensors

__all__ = ["MetricEvaluator", "add_up", "to_floatx"]

logger = logging.getLogger(__name__)

_Measured = tuple[int | None, Any]


class Predictor(Protocol):
    """Engine, or anything that predicts and compiles like one."""

    model: keras.Model

    @property
    def ends(self) -> Ends | None:
        """The model's inputs and outputs."""

    @property
    def hard_loss(self) -> ModelLoss:
        """The loss of the data's own targets."""

    def compiled(self, function: Callable[..., Any], *, batches: int) -> Callable[..., Any]:
        """Return a function compiled for the backend; its last ``batches`` arguments are a batch."""

    def forward(self, state: Any, X: Any) -> Any:
        """Return the outputs for a batch."""

    def forward_with_penalties(self, state: Any, X: Any) -> tuple[Any, Any]:
        """Return the outputs for a batch, and the model's own penalties."""

    def forward_state(self) -> Any:
        """Return what a forward pass needs beside a batch: the present weights."""

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
        The metric of the model; or a metric of Keras, for each output by itself.
    with_loss
        Whether :meth:`with_loss` is called, which computes the loss in the same pass.
    """

    def __init__(
        self,
        engine: Predictor,
        metric: ModelMetric | keras.metrics.Metric,
        *,
        with_loss: bool = False,
    ) -> None:
        self._engine = engine
        if not isinstance(metric, ModelMetric):
            metric = ModelMetric(metric, None if engine.ends is None else engine.ends.outputs)
        self._metric = metric
        self._needs_loss = with_loss or metric.is_loss
        # Outputs carry their masks only as long as no compiled step hands them out.
        masks = [getattr(each, "_keras_mask", None) for each in engine.model.outputs or ()]
        self._has_masks = any(mask is not None for mask in masks)
        self._measured: list[_Measured] = []
        """Place of an output, None for the loss of all of them, and what measures it."""
        self._compiled = engine.compiled(self._update_compiled, batches=2)
        self._fresh: list[list[Any]] | None = None
        self._compiles: bool | None = None

    def __call__(self, batches: Iterable[tuple[Any, Targets]]) -> float:
        """Return the metric over batches of inputs and targets; of several, the mean."""
        return float(np.mean(self._evaluate(batches)))

    def with_loss(self, batches: Iterable[tuple[Any, Targets]]) -> tuple[float, float]:
        """Return the metric as a call does, and the loss with the model's own penalties, from one pass."""
        *results, loss = self._evaluate(batches)
        return (float(np.mean(results)) if results else loss), loss

    def _evaluate(self, batches: Iterable[tuple[Any, Targets]]) -> list[float]:
        values, results = self._fresh, None
        for X, y in batches:
            if self._compiles is None:
                values = self._try_compiling(X, y)
            if self._compiles:
                values, results = self._compiled(self._engine.forward_state(), values, X, y)
            else:
                self._update_eagerly(X, y)
        if results is None:
            results = [each.result() for _, each in self._measured]
            self._reset_metrics()
        return [float(np.mean(keras.ops.convert_to_numpy(each))) for each in results]

    def _measure(self, X: Any, y: Targets) -> list[_Measured]:
        """Return new metrics for data of these shapes."""
        loss: list[_Measured] = (
            [(None, keras.metrics.Mean(name="loss"))] if self._needs_loss else []
        )
        if self._metric.is_loss:
            return loss
        ends = self._engine.ends
        if ends is None:
            predictions = keras.tree.flatten(self._engine.predict_batch(X))
        else:
            predictions = [keras.KerasTensor((None, *shape)) for shape in ends.outputs.shapes]
        measured: list[_Measured] = [
            (place, fresh_metric(each, outputs=predictions[place], labels=y.labels_of(place)))
            for place, each in self._metric.every()
        ]
        return measured + loss

    def _try_compiling(self, X: Any, y: Targets) -> list[list[Any]]:
        """Find out whether the metric can be compiled; return the initial values of its variables."""
        self._measured = self._measure(X, y)
        if not all(
            each.variables for _, each in self._measured
        ):  # some are made by the first update
            self._update_eagerly(X, y)
        self._reset_metrics()
        self._fresh = [
            [tensors(keras.ops.convert_to_numpy(v)) for v in each.variables]
            for _, each in self._measured
        ]
        try:
            self._compiled(self._engine.forward_state(), self._fresh, X, y)
            self._compiles = True
        except Exception as error:  # whatever a user's metric may raise in a graph
            logger.info("metric %r is not compiled: %s", self._metric.name, error)
            self._compiles = False
        return self._fresh

    def _reset_metrics(self) -> None:
        for _, each in self._measured:
            each.reset_state()

    def _forward(self, state: Any, X: Any) -> tuple[Any, Any]:
        if self._needs_loss:
            return self._engine.forward_with_penalties(state, X)
        return self._engine.forward(state, X), 0

    def _arguments(self, y: Targets, outputs: Any, penalties: Any) -> list[tuple[Any, ...]]:
        """Return what each metric is updated with."""
        predictions = keras.tree.flatten(outputs)
        given: list[tuple[Any, ...]] = [
            (y.labels_of(place), predictions[place]) for place, _ in self._metric.every()
        ]
        if self._needs_loss:
            count = keras.ops.shape(keras.tree.flatten(y.labels)[0])[0]
            loss = self._engine.hard_loss(y, outputs)
            given.append((loss + keras.ops.cast(penalties, loss.dtype), count))
        return given

    def _update_compiled(
        self, state: Any, values: list[list[Any]], X: Any, y: Targets
    ) -> tuple[list[list[Any]], list[Any]]:
        given = self._arguments(y, *self._forward(state, X))
        updated = [
            list(each.stateless_update_state(own, *arguments))
            for (_, each), own, arguments in zip(self._measured, values, given, strict=True)
        ]
        pairs = zip(self._measured, updated, strict=True)
        return updated, [each.stateless_result(own) for (_, each), own in pairs]

    def _update_eagerly(self, X: Any, y: Targets) -> None:
        if self._needs_loss or self._has_masks:
            found = self._forward(self._engine.forward_state(), tensors(X))
        else:
            found = self._engine.predict_batch(X), 0
        given = self._arguments(y, *found)
        for (_, each), arguments in zip(self._measured, given, strict=True):
            each.update_state(*arguments)


def add_up(penalties: Iterable[Any]) -> Any:
    """Return the sum of a model's penalties, each of any shape and precision."""
    return sum(to_floatx(keras.ops.sum(penalty)) for penalty in penalties)


def to_floatx(tensor: Any) -> Any:
    """Return a result as Keras' losses see it: in full precision, if it is a floating-point number."""
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)):
        return tensor
    return keras.ops.cast(tensor, keras.config.floatx())
