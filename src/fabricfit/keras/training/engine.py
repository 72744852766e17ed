"""Training in the backend's fast way, behind one small interface.

An engine trains epochs over data that lies in memory, evaluates, and never touches the caller's objects.
Each backend has its own, chosen by ``keras.backend.backend()``; they differ only in how an epoch is
compiled.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fabricfit.attributes import LayerAttributes
from fabricfit.keras.training.data import Data
from fabricfit.keras.training.ingredients import fresh_metric, fresh_optimizer, mean_loss
from fabricfit.keras.training.penalty import Penalty
from fabricfit.keras.training.projection import Projection

__all__ = ["Engine", "make_engine"]

_PREDICTION_BATCH = 4096


class Engine(ABC):
    """Masked training of one model.

    Parameters
    ----------
    model
        The model to train. Its weights are what the engine reads and writes.
    loss_fn
        A loss, its name, or a function of (y_true, y_pred).
    optimizer
        An optimizer or its name; the engine works with a copy of its own.
    attributes
        Layer -> attributes: whose kernels are masked.
    seed
        Seeds what a backend draws from a generator of its own rather than from the model's.
    penalty
        Group penalties that are added to the loss and the model's own.
    """

    def __init__(
        self,
        model: keras.Model,
        loss_fn: Any,
        optimizer: Any,
        attributes: Mapping[str, LayerAttributes] | None = None,
        seed: int = 0,
        penalty: Penalty | None = None,
    ) -> None:
        self.model = model
        self.penalty = penalty or Penalty(model, {})
        self.seed = seed
        self.loss = mean_loss(loss_fn)
        self.optimizer = fresh_optimizer(optimizer)
        self.optimizer.build(model.trainable_variables)
        self.projection = Projection(model, attributes or {})
        self._fresh = [keras.ops.convert_to_numpy(v) for v in self.optimizer.variables]

    @abstractmethod
    def step(self, X: Any, y: Any) -> float:
        """Train on one batch; return its loss, the model's own penalties included."""

    @abstractmethod
    def train_epoch(self, data: Data, order: np.ndarray, batch_size: int) -> float:
        """Train on all samples once.

        Parameters
        ----------
        data
            Inputs and targets.
        order
            The samples' indices in the order in which they are used, shape ``(n,)``.
        batch_size
            Samples in a step; the last one takes what is left.

        Returns
        -------
        float
            Mean loss over the samples, as seen while training.
        """

    @abstractmethod
    def predict_batch(self, X: Any) -> Any:
        """Return the model's outputs for one batch, as tensors."""

    def predict(self, X: Any, batch_size: int = _PREDICTION_BATCH) -> Any:
        """Return the model's outputs as NumPy arrays."""
        count = len(keras.tree.flatten(X)[0])
        parts = []
        for start in range(0, count, batch_size):
            batch = keras.tree.map_structure(lambda a, s=start: a[s : s + batch_size], X)
            parts.append(
                keras.tree.map_structure(keras.ops.convert_to_numpy, self.predict_batch(batch))
            )
        return keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)

    def evaluate(self, data: Data, metric: keras.metrics.Metric) -> float:
        """Return a metric over all samples; with several outputs, its mean over the outputs."""
        outputs = keras.tree.flatten(self.predict(data.X))
        values = []
        for target, prediction in zip(keras.tree.flatten(data.y), outputs, strict=True):
            own = fresh_metric(metric)
            own.update_state(target, prediction)
            values.append(float(np.mean(keras.ops.convert_to_numpy(own.result()))))
        return float(np.mean(values))

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all weights and states of the model."""
        return [np.array(keras.ops.convert_to_numpy(v)) for v in self.model.variables]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Restore what :meth:`get_weights` returned."""
        for variable, value in zip(self.model.variables, weights, strict=True):
            variable.assign(value)

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments, step count and changed learning rate."""
        for variable, value in zip(self.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)

    def project_weights(self) -> None:
        """Set frozen weights to their values and shared ones to their mean, now."""
        variables = self.model.trainable_variables
        projected = self.projection.weights([v.value for v in variables])
        for position in self.projection.positions:
            variables[position].assign(projected[position])


def make_engine(
    model: keras.Model,
    loss_fn: Any,
    optimizer: Any,
    attributes: Mapping[str, LayerAttributes] | None = None,
    seed: int = 0,
    penalty: Penalty | None = None,
) -> Engine:
    """Return the engine of the active backend; the arguments are those of :class:`Engine`."""
    name = keras.backend.backend()
    module = importlib.import_module(f"fabricfit.keras.training.{name}_engine")
    return module.BackendEngine(model, loss_fn, optimizer, attributes, seed, penalty)
