"""A metric over many samples, with prediction and counting in one compiled step."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from fabricfit.keras.training.ingredients import fresh_metric

if TYPE_CHECKING:
    from fabricfit.keras.training.engine import Engine

__all__ = ["Judge"]

logger = logging.getLogger(__name__)


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

    def __init__(self, engine: Engine, metric: keras.metrics.Metric) -> None:
        self._engine = engine
        outputs = len(keras.tree.flatten(engine.model.outputs))
        self._own = [fresh_metric(metric) for _ in range(outputs)]
        self._compiled = engine.compiled(self._update)
        self._sound: bool | None = None

    def __call__(self, batches: Iterable[tuple[Any, Any]]) -> float:
        """Return the metric over batches of inputs and targets, the mean over the outputs."""
        for each in self._own:
            each.reset_state()
        values: list[list[Any]] | None = None
        for X, y in batches:
            if self._sound is None:
                self._try(X, y)
            if self._sound:
                values = values or self._values()
                values = self._compiled(self._engine.forward_state(), values, X, y)
            else:
                self._count(self._engine.predict_batch(X), y)
        if values is not None:
            for each, state in zip(self._own, values, strict=True):
                for variable, value in zip(each.variables, state, strict=True):
                    variable.assign(value)
        results = [np.mean(keras.ops.convert_to_numpy(each.result())) for each in self._own]
        return float(np.mean(results))

    def _values(self) -> list[list[Any]]:
        return [[variable.value for variable in each.variables] for each in self._own]

    def _try(self, X: Any, y: Any) -> None:
        """Find out whether the metric can be compiled."""
        if not all(each.variables for each in self._own):  # some are made by the first update
            self._count(self._engine.predict_batch(X), y)
            for each in self._own:
                each.reset_state()
        try:
            self._compiled(self._engine.forward_state(), self._values(), X, y)
            self._sound = True
        except Exception as error:  # whatever a user's metric may raise in a graph
            logger.info("metric %r is not compiled: %s", self._own[0].name, error)
            self._sound = False

    def _update(self, state: Any, values: list[list[Any]], X: Any, y: Any) -> list[list[Any]]:
        outputs = keras.tree.flatten(self._engine.forward(state, X))
        return [
            list(each.stateless_update_state(own, target, output))
            for each, own, target, output in zip(
                self._own, values, keras.tree.flatten(y), outputs, strict=True
            )
        ]

    def _count(self, outputs: Any, y: Any) -> None:
        flat = (keras.tree.flatten(y), keras.tree.flatten(outputs))
        for each, target, output in zip(self._own, *flat, strict=True):
            each.update_state(target, output)
