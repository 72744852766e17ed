"""JAX: a jitted step, with all that changes passed in and handed back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import keras
import numpy as np

from fabricfit.keras.training.data import Dataset, samples_in
from fabricfit.keras.training.engine import Engine, assign_all

__all__ = ["BackendEngine"]

_QUICKLY = {"xla_backend_optimization_level": 0}
_State = tuple[list[Any], list[Any], list[Any]]


class BackendEngine(Engine):
    """The step is a pure function of weights, optimizer state, masks and a batch.

    The memory of what it changes is used again for what it returns.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        compiled = partial(jax.jit, donate_argnums=0)
        self._compiled_step = compiled(self._step)
        self._compiled_picking_step = compiled(self._picking_step)
        # What is left at the end of an epoch is one step: compiling it well would take longer.
        self._compiled_last_step = compiled(self._picking_step, compiler_options=_QUICKLY)
        self._compiled_copy = self.compiled(self._copy)
        self._compiled_unpack = self.compiled(self.parameters.unpack)

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        steps = (self._compiled_step, self._compiled_picking_step, self._compiled_last_step)
        return sum(step._cache_size() for step in steps)

    def step(self, X: Any, y: Any) -> float:
        """Train on one batch."""
        return self._run([(self._compiled_step, (X, y), samples_in(X))])

    def _train_resident(self, held: tuple[Any, Any], order: np.ndarray, batch_size: int) -> float:
        def steps() -> Iterator[tuple[Any, tuple[Any, ...], int]]:
            index = order.astype(np.int32)
            for start in range(0, len(order), batch_size):
                part = index[start : start + batch_size]
                whole = len(part) == batch_size
                step = self._compiled_picking_step if whole else self._compiled_last_step
                yield step, (held, part), len(part)

        return self._run(steps())

    def _train_stream(self, data: Dataset, order: np.ndarray | None, batch_size: int) -> float:
        pairs = data.batches(batch_size, order)
        return self._run((self._compiled_step, pair, samples_in(pair[0])) for pair in pairs)

    def _run(self, steps: Iterable[tuple[Any, tuple[Any, ...], int]]) -> float:
        """Take compiled steps, each on what it is given besides state and inputs; return the mean loss."""
        inputs, state, losses = self.inputs(), self._state(), []
        for step, samples, count in steps:
            state, loss = step(state, inputs, *samples)
            losses.append((loss, count))
        self._write(state)
        total = sum(count for _, count in losses)
        return float(sum(float(loss) * count for loss, count in losses) / total)

    def forward_state(self) -> tuple[list[Any], list[Any]]:
        """Return the values of all weights and states."""
        owners = (self.model.trainable_variables, self.model.non_trainable_variables)
        weights, other = ([v.value for v in owner] for owner in owners)
        return weights, other

    def forward(self, state: tuple[list[Any], list[Any]], X: Any) -> Any:
        """Return the model's outputs."""
        return self.model.stateless_call(*state, X, training=False)[0]

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a jitted function: of those besides the step, none runs often."""
        return jax.jit(function, compiler_options=_QUICKLY)

    def _state(self) -> _State:
        """Return copies of all that a step changes, since their memory is given away."""
        return self._compiled_copy(
            self.forward_state(), [v.value for v in self.optimizer.variables]
        )

    def _copy(self, state: tuple[list[Any], list[Any]], moments: list[Any]) -> _State:
        weights, other = state
        other, moments = jax.tree.map(jax.numpy.copy, (other, moments))
        return jax.tree.map(jax.numpy.copy, self.parameters.pack(weights)), other, moments

    def _write(self, state: _State) -> None:
        packed, other, moments = state
        owners = (
            (self.model.trainable_variables, self._compiled_unpack(packed)),
            (self.model.non_trainable_variables, other),
            (self.optimizer.variables, moments),
        )
        for variables, values in owners:
            assign_all(variables, values)

    def _picking_step(
        self, state: _State, inputs: Any, held: Any, index: Any
    ) -> tuple[_State, Any]:
        X, y = keras.tree.map_structure(lambda array: array[index], held)
        return self._step(state, inputs, X, y)

    def _step(self, state: _State, inputs: Any, X: Any, y: Any) -> tuple[_State, Any]:
        (packed, other, moments), (masks, strengths) = state, inputs

        differentiated = jax.value_and_grad(self.objective, has_aux=True)
        weights = self.parameters.unpack(packed)
        (loss, updated), gradients = differentiated(weights, other, strengths, X, y)
        slopes = self.projected(self.parameters.pack(gradients), masks)
        packed, moments = self.optimizer.stateless_apply(moments, slopes, packed)
        packed = self.projected(packed, masks, constants=True)
        return (packed, updated, moments), loss
