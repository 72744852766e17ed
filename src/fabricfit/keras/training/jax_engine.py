"""JAX: a jitted step, with all that changes passed in and handed back."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np

from fabricfit.keras.training.engine import Engine

__all__ = ["BackendEngine"]

_State = tuple[list[Any], list[Any], list[Any]]


class BackendEngine(Engine):
    """The step is a pure function of weights, optimizer state, masks and a batch.

    The memory of what it changes is used again for what it returns.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._compiled_step = jax.jit(self._step, donate_argnums=0)
        self._compiled_picking_step = jax.jit(self._picking_step, donate_argnums=0)
        self._compiled_predict = jax.jit(self._predict)

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        return self._compiled_step._cache_size() + self._compiled_picking_step._cache_size()

    def step(self, X: Any, y: Any) -> float:
        """Train on one batch."""
        state, loss = self._compiled_step(self._state(), self.inputs(), X, y)
        self._write(state)
        return float(loss)

    def _train_resident(self, held: tuple[Any, Any], order: np.ndarray, batch_size: int) -> float:
        inputs, state, losses = self.inputs(), self._state(), []
        index = order.astype(np.int32)
        for start in range(0, len(order), batch_size):
            part = index[start : start + batch_size]
            state, loss = self._compiled_picking_step(state, inputs, held, part)
            losses.append((loss, len(part)))
        self._write(state)
        return float(sum(float(loss) * count for loss, count in losses) / len(order))

    def predict_batch(self, X: Any) -> Any:
        """Return the model's outputs for one batch."""
        owners = (self.model.trainable_variables, self.model.non_trainable_variables)
        return self._compiled_predict(*([v.value for v in owner] for owner in owners), X)

    def _state(self) -> _State:
        """Return copies of all that a step changes, since their memory is given away."""
        owners = (self.model.trainable_variables, self.model.non_trainable_variables)
        weights, other = ([v.value.copy() for v in owner] for owner in owners)
        moments = [v.value.copy() for v in self.optimizer.variables]
        return self.parameters.pack(weights), other, moments

    def _write(self, state: _State) -> None:
        packed, other, moments = state
        owners = (
            (self.model.trainable_variables, self.parameters.unpack(packed)),
            (self.model.non_trainable_variables, other),
            (self.optimizer.variables, moments),
        )
        for variables, values in owners:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _predict(self, trainable: list[Any], other: list[Any], X: Any) -> Any:
        return self.model.stateless_call(trainable, other, X, training=False)[0]

    def _picking_step(
        self, state: _State, inputs: Any, held: Any, index: Any
    ) -> tuple[_State, Any]:
        X, y = keras.tree.map_structure(lambda array: array[index], held)
        return self._step(state, inputs, X, y)

    def _step(self, state: _State, inputs: Any, X: Any, y: Any) -> tuple[_State, Any]:
        (packed, other, moments), (masks, strengths) = state, inputs

        def total(weights: list[Any]) -> tuple[Any, Any]:
            outputs, updated, penalties = self.model.stateless_call(
                weights, other, X, training=True, return_losses=True
            )
            penalty = sum(penalties) + self.penalty(weights, strengths)
            return self.loss(y, outputs) + penalty, updated

        differentiated = jax.value_and_grad(total, has_aux=True)
        (loss, updated), gradients = differentiated(self.parameters.unpack(packed))
        slopes = self.projected(self.parameters.pack(gradients), masks)
        packed, moments = self.optimizer.stateless_apply(moments, slopes, packed)
        packed = self.projected(packed, masks, constants=True)
        return (packed, updated, moments), loss
