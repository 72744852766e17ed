"""JAX: a jitted step, with all that changes passed in and handed back."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np

from fabricfit.keras.training.data import Data
from fabricfit.keras.training.engine import Engine

__all__ = ["BackendEngine"]


class BackendEngine(Engine):
    """The step is a pure function of weights, optimizer state, masks and a batch."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._compiled_step = jax.jit(self._step)
        self._compiled_gather = jax.jit(
            lambda arrays, index: keras.tree.map_structure(lambda a: a[index], arrays)
        )
        self._compiled_predict = jax.jit(self._predict)

    def step(self, X: Any, y: Any) -> float:
        """Train on one batch."""
        state, loss = self._compiled_step(self._state(), self._inputs(), X, y)
        self._write(state)
        return float(loss)

    def train_epoch(self, data: Data, order: np.ndarray, batch_size: int) -> float:
        """Train on all samples once."""
        arrays = jax.device_put((data.X, data.y))
        inputs, state, losses = self._inputs(), self._state(), []
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            X, y = self._compiled_gather(arrays, index)
            state, loss = self._compiled_step(state, inputs, X, y)
            losses.append((loss, len(index)))
        self._write(state)
        return float(sum(float(loss) * count for loss, count in losses) / len(order))

    def predict_batch(self, X: Any) -> Any:
        """Return the model's outputs for one batch."""
        trainable, other, _ = self._state()
        return self._compiled_predict(trainable, other, X)

    def _inputs(self) -> tuple[Any, Any]:
        return self.projection.state, self.penalty.state

    def _state(self) -> tuple[list[Any], list[Any], list[Any]]:
        return (
            [v.value for v in self.model.trainable_variables],
            [v.value for v in self.model.non_trainable_variables],
            [v.value for v in self.optimizer.variables],
        )

    def _write(self, state: tuple[list[Any], list[Any], list[Any]]) -> None:
        owners = (
            self.model.trainable_variables,
            self.model.non_trainable_variables,
            self.optimizer.variables,
        )
        for variables, values in zip(owners, state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _predict(self, trainable: list[Any], other: list[Any], X: Any) -> Any:
        return self.model.stateless_call(trainable, other, X, training=False)[0]

    def _step(self, state: Any, inputs: Any, X: Any, y: Any) -> tuple[Any, Any]:
        (trainable, other, moments), (masks, strengths) = state, inputs

        def total(weights: list[Any]) -> tuple[Any, Any]:
            outputs, updated, penalties = self.model.stateless_call(
                weights, other, X, training=True, return_losses=True
            )
            penalty = sum(penalties) + self.penalty(weights, strengths)
            return self.loss(y, outputs) + penalty, updated

        (loss, updated), gradients = jax.value_and_grad(total, has_aux=True)(trainable)
        gradients = self.projection.gradients(gradients, masks)
        weights, moments = self.optimizer.stateless_apply(moments, gradients, trainable)
        return (self.projection.weights(weights, masks), updated, moments), loss
