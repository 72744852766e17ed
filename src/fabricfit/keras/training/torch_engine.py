"""PyTorch: a plain loop over tensors that stay on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import torch

from fabricfit.keras.training.data import Data, tensors
from fabricfit.keras.training.engine import Engine

__all__ = ["BackendEngine"]


class BackendEngine(Engine):
    """Eager steps, without the bookkeeping of Keras' ``fit``.

    Keras' Dropout draws from PyTorch's global generator: the engine keeps a state of its own for it
    and leaves the caller's as it was.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._random = self._seeded()

    def reset_optimizer(self) -> None:
        """Forget the optimizer's state, and begin the random numbers anew."""
        super().reset_optimizer()
        self._random = self._seeded()

    def _seeded(self) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return torch.get_rng_state()

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random)
            yield
            self._random = torch.get_rng_state()

    def step(self, X: Any, y: Any) -> float:
        """Train on one batch."""
        with self._own_random():
            return float(self._step(*tensors((X, y))))

    def train_epoch(self, data: Data, order: np.ndarray, batch_size: int) -> float:
        """Train on all samples once."""
        arrays = tensors((data.X, data.y))
        index = keras.ops.convert_to_tensor(order, "int64")
        total: Any = 0.0
        with self._own_random():
            for start in range(0, len(order), batch_size):
                part = index[start : start + batch_size]
                X, y = keras.tree.map_structure(lambda a, i=part: a[i], arrays)
                total = total + self._step(X, y) * len(part)
        return float(total) / len(order)

    def predict_batch(self, X: Any) -> Any:
        """Return the model's outputs for one batch."""
        with torch.no_grad():
            return self.model(tensors(X), training=False)

    def _step(self, X: Any, y: Any) -> torch.Tensor:
        variables = self.model.trainable_variables
        weights = [v.value for v in variables]
        loss = self.loss(y, self.model(X, training=True))
        total = loss + sum(self.model.losses) + self.penalty(weights)
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        with torch.no_grad():
            self.optimizer.apply(self.projection.gradients(list(gradients)), variables)
            self.project_weights()
        return total.detach()
