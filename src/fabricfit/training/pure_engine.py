"""Engines whose step is a pure function: all that it changes is passed in and handed back.

So candidates can be trained side by side, by one compiled step, where a small model leaves cores unused.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from fabricfit.network.ends import Targets
from fabricfit.samples import Data, Dataset
from fabricfit.training.engine import Engine, EngineState
from fabricfit.training.evaluation import to_floatx
from fabricfit.training.projection import project
from fabricfit.training.strengths import Strengths

__all__ = ["PureEngine", "State", "cores"]

State = tuple[list[Any], list[Any], list[Any]]
"""Weights, other variables of the model, and the optimizer's, as tensors."""


class PureEngine(Engine):
    """An engine that reads all that training changes, goes through some samples, and writes it back."""

    @abstractmethod
    def _read_state(self) -> tuple[State, Any]:
        """Return copies of the state that training changes, and its inputs: masks and strengths."""

    @abstractmethod
    def _write_state(self, state: State) -> None:
        """Write a final state into model and optimizer."""

    @abstractmethod
    def _train_on_held(
        self, state: State, inputs: Any, held: tuple[Any, Any], order: np.ndarray, batch_size: int
    ) -> tuple[State, float]:
        """Go through samples that are on the device; return the new state and the mean loss."""

    @abstractmethod
    def _train_on_batches(
        self, state: State, inputs: Any, pairs: Iterable[tuple[Any, Any]]
    ) -> tuple[State, float]:
        """Go through batches as they come; return the new state and the mean loss."""

    @abstractmethod
    def _count_lanes(
        self, state: State, inputs: Any, held: tuple[Any, Any], batch_size: int
    ) -> int:
        """Return how many calls of :meth:`_train_on_held` may run at once, with the same results."""

    def _train_on_batch(self, X: Any, y: Targets) -> float:
        return self._write_back(*self._train_on_batches(*self._read_state(), [(X, y)]))

    def train_epoch(self, data: Dataset, order: np.ndarray | None, batch_size: int) -> float:
        """Train on all samples once; return their mean loss."""
        begun = self._read_state()
        if isinstance(data, Data) and data.resident and order is not None:
            return self._write_back(
                *self._train_on_held(*begun, self._hold_on_device(data), order, batch_size)
            )
        return self._write_back(*self._train_on_batches(*begun, data.batches(batch_size, order)))

    def _write_back(self, state: State, loss: float) -> float:
        self._write_state(state)
        return loss

    def train_candidates(
        self,
        candidates: Iterable[tuple[EngineState, Strengths]],
        data: Dataset,
        orders: Sequence[np.ndarray | None],
        batch_size: int,
    ) -> Iterator[tuple[EngineState, float]]:
        """Train several candidates, each by itself, and as many at once as there are cores for."""
        if not (isinstance(data, Data) and data.resident):
            yield from super().train_candidates(candidates, data, orders, batch_size)
            return
        held = self._hold_on_device(data)
        waiting: deque[Future[tuple[State, float]]] = deque()

        def epochs(state: State, inputs: Any) -> tuple[State, float]:
            loss = 0.0
            for order in orders:
                assert order is not None
                state, loss = self._train_on_held(state, inputs, held, order, batch_size)
                if not np.isfinite(loss):
                    break
            return state, loss

        def written(future: Future[tuple[State, float]]) -> tuple[EngineState, float]:
            loss = self._write_back(*future.result())
            return self.get_state(), loss

        lanes, pool = 0, ThreadPoolExecutor(cores())
        try:
            for start, strengths in candidates:
                self.set_state(start)
                self.penalty.assign(strengths)
                begun = self._read_state()
                lanes = lanes or self._count_lanes(*begun, held, batch_size)
                if lanes == 1:
                    loss = self._write_back(*epochs(*begun))
                    yield self.get_state(), loss
                    continue
                waiting.append(pool.submit(epochs, *begun))
                if len(waiting) > lanes:
                    yield written(waiting.popleft())
            while waiting:
                yield written(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def objective(
        self, weights: list[Any], other: list[Any], inputs: tuple[Any, Any], X: Any, y: Any
    ) -> tuple[Any, list[Any]]:
        """Return what a step minimizes, as a pure function: the loss and penalties.

        Parameters
        ----------
        weights, other
            Values of the model's trainable and other variables.
        inputs
            See :meth:`inputs`.
        X, y
            A batch of inputs and targets.

        Returns
        -------
        tuple
            A scalar, and the new values of the other variables.
        """
        _, (strengths, _) = inputs
        outputs, updated, penalties = self.model.stateless_call(
            self.rounding(weights), other, X, training=True, return_losses=True
        )
        loss = self.loss(y, outputs)  # in full precision, and by the masks that outputs carry
        for penalty in (*penalties, self.penalty(weights, strengths)):
            loss = loss + (penalty if isinstance(penalty, float) else to_floatx(penalty))
        return loss, updated

    def inputs(self) -> tuple[Any, Any]:
        """Return masks and strengths as tensors: the arguments of a pure step besides its state."""
        return self.packed_inputs(self.projection.state, self.penalty.state)

    def packed_inputs(self, masks: Any, strengths: Any) -> tuple[Any, Any]:
        """Return the inputs of a step for states of projection and penalty, as a pure function."""
        packed = self.projection.packed(masks, self.parameters)
        return packed, self.penalty.packed(strengths, self.parameters)

    def optimizer_gradients(
        self, loss: Any, gradients: list[Any], state: State, inputs: tuple[Any, Any]
    ) -> tuple[Any, list[Any]]:
        """Return the gradients of a scaled :meth:`objective` for the optimizer, as a pure function.

        Parameters
        ----------
        loss, gradients
            The loss, and the derivatives of the loss as it is scaled.
        state
            Before the step, the weights as the optimizer uses them.
        inputs
            See :meth:`inputs`.

        Returns
        -------
        tuple
            The loss, and the gradients of what is not frozen; norms of packed weights are added to both.
        """
        masks, (_, norms) = inputs
        packed, _, moments = state
        packed_gradients = self.parameters.pack(gradients)
        if norms is not None:
            loss = loss + keras.ops.cast(
                keras.ops.sum(norms * keras.ops.abs(packed[0])), loss.dtype
            )
            added = self.scaling.scale(norms * keras.ops.sign(packed[0]), moments)
            packed_gradients = [packed_gradients[0] + added]
        return loss, self.projected(packed_gradients, masks)

    def projected(self, packed: list[Any], masks: Any, *, constants: bool = False) -> list[Any]:
        """Project packed gradients or weights by the masks of :meth:`inputs`."""
        positions = list(range(len(masks))) if self.parameters.flat else self.projection.positions
        return project(packed, positions, masks, constants=constants)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
