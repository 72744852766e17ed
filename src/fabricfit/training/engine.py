"""Engine of masked training: one small interface, compiled for each backend.

An engine trains epochs, evaluates, and never changes the caller's objects. Data that fit are held on the
device, others are streamed. Each backend has its own engine; they differ only in how an epoch is compiled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.precision import FixedPrecision
from fabricfit.losses import ModelLoss, ModelMetric
from fabricfit.network.ends import Ends, Targets, read_ends
from fabricfit.network.graph import is_readable
from fabricfit.network.reader import Network, as_network, model_of
from fabricfit.samples import Data, Dataset, Door, samples_in, tensors
from fabricfit.training.distillation import DistillationLoss
from fabricfit.training.evaluation import MetricEvaluator, to_floatx
from fabricfit.training.flattening import Parameters
from fabricfit.training.loss_scaling import LossScaling, with_loss_scaling
from fabricfit.training.penalty import Penalty
from fabricfit.training.projection import Projection
from fabricfit.training.resolve import fresh_optimizer
from fabricfit.training.strengths import Strengths
from fabricfit.training.weight_rounding import WeightRounding

__all__ = ["Engine", "EngineState", "assign_all"]

_PREDICTION_BATCH = 4096
_MOST_AT_ONCE = 2**15
_NUMBERS_AT_ONCE = 2**22


@dataclass(frozen=True)
class EngineState:
    """Weights and states of a model, and those of its optimizer."""

    weights: list[np.ndarray]
    optimizer: list[np.ndarray]


class Engine(ABC):
    """Masked training of one model.

    Parameters
    ----------
    model
        The model to train, or what was read of it. Its weights are what the engine reads and writes.
    loss_fn
        A :class:`~fabricfit.losses.ModelLoss`, or what describes one; or a distillation loss.
    optimizer
        An optimizer or its name; the engine works with a copy of its own.
    attributes
        Layer -> attributes: whose kernels are masked.
    seed
        Seeds what a backend draws from a generator of its own rather than from the model's.
    penalty
        Group penalties that are added to the loss and the model's own.
    """

    flattens = True
    """Whether the optimizer may see all weights as one vector."""

    def __init__(
        self,
        model: keras.Model | Network,
        loss_fn: Any,
        optimizer: Any,
        attributes: Mapping[str, LayerAttributes] | None = None,
        seed: int = 0,
        penalty: Penalty | None = None,
    ) -> None:
        self._read = model if isinstance(model, Network) else None
        self.model = model_of(model)
        self.penalty = penalty or Penalty(self.model, {})
        self.seed = seed
        self.loss = loss_fn
        if not isinstance(loss_fn, ModelLoss | DistillationLoss):
            outputs = None if self.ends is None else self.ends.outputs
            self.loss = ModelLoss(loss_fn, outputs=outputs)
        fresh = with_loss_scaling(fresh_optimizer(optimizer), self.model)
        self.optimizer = self._adapt_optimizer(fresh)
        self.parameters = Parameters(self.model.trainable_variables, self.optimizer, self.flattens)
        self.optimizer.build(self.parameters.built_on)
        self.scaling = LossScaling(self.optimizer)
        self.rounding = WeightRounding()
        self.projection = Projection(self.network if attributes else self.model, attributes or {})
        self._fresh = self.values_of(self.optimizer.variables)
        self._on_device: WeakKeyDictionary[Data, tuple[Any, Any]] = WeakKeyDictionary()
        self._evaluators: WeakKeyDictionary[Any, MetricEvaluator] = WeakKeyDictionary()
        self._with_loss: WeakKeyDictionary[Any, MetricEvaluator] = WeakKeyDictionary()
        self._loss_metric = ModelMetric("loss")
        self._predict = self.compiled(self.forward, batches=1)

    def _adapt_optimizer(self, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        """Return an optimizer in the form that the engine needs."""
        return optimizer

    @property
    def network(self) -> Network:
        """What was read of the model."""
        if self._read is None:
            self._read = as_network(self.model)
        return self._read

    @cached_property
    def ends(self) -> Ends | None:
        """The model's inputs and outputs; None where its graph cannot be read."""
        if self._read is not None:
            return self._read.ends
        return read_ends(self.model) if is_readable(self.model) else None

    @property
    def hard_loss(self) -> ModelLoss:
        """The loss of the data's own targets, without what is distilled."""
        return self.loss.plain if isinstance(self.loss, DistillationLoss) else self.loss

    def step(self, X: Any, y: Any, weights: Any = None) -> float:
        """Train on one batch, in any structure that Keras accepts.

        Parameters
        ----------
        X, y, weights
            Inputs, targets, and weights of samples, if any.

        Returns
        -------
        float
            Its loss, the model's own penalties included.
        """
        return self._train_on_batch(*Door(self.ends)((X, y, weights), "batch"))

    @abstractmethod
    def _train_on_batch(self, X: Any, y: Targets) -> float:
        """Train on one batch; return its loss, the model's own penalties included."""

    @property
    @abstractmethod
    def compilations(self) -> int:
        """How often a training step has been compiled: once for each way the data are shaped."""

    @abstractmethod
    def train_epoch(self, data: Dataset, order: np.ndarray | None, batch_size: int) -> float:
        """Train on all samples once.

        Parameters
        ----------
        data
            Inputs and targets.
        order
            The samples' indices in the order in which they are used, shape ``(n,)``: what
            :meth:`~fabricfit.samples.Dataset.order` returns.
        batch_size
            Samples in a step; the last one may have fewer.

        Returns
        -------
        float
            Mean loss over the samples, as seen while training.
        """

    def train_candidates(
        self,
        candidates: Iterable[tuple[EngineState, Strengths]],
        data: Dataset,
        orders: Sequence[np.ndarray | None],
        batch_size: int,
    ) -> Iterator[tuple[EngineState, float]]:
        """Train several candidates, each by itself.

        Parameters
        ----------
        candidates
            Initial state of each, and its regularization strengths.
        data, batch_size
            As for :meth:`train_epoch`.
        orders
            An order for each epoch, the same for all candidates.

        Yields
        ------
        tuple
            Final state of a candidate, in the order in which they were given, and its last loss: not
            finite if it diverged. The engine then holds that candidate's weights.
        """
        for state, strengths in candidates:
            self.set_state(state)
            self.penalty.assign(strengths)
            loss = 0.0
            for order in orders:
                loss = self.train_epoch(data, order, batch_size)
                if not np.isfinite(loss):
                    break
            yield self.get_state(), loss

    def _hold_on_device(self, data: Data) -> tuple[Any, Any]:
        """Return the samples as tensors; they are sent to the device but once."""
        if data not in self._on_device:
            self._on_device[data] = tensors((data.X, data.y))
        return self._on_device[data]

    @abstractmethod
    def forward_state(self) -> Any:
        """Return what a prediction depends on, as far as :meth:`forward` does not know it."""

    @abstractmethod
    def forward(self, state: Any, X: Any) -> Any:
        """Return the model's outputs, as a pure function."""

    @abstractmethod
    def forward_with_penalties(self, state: Any, X: Any) -> tuple[Any, Any]:
        """Return the model's outputs, and the sum of its own penalties, as a pure function."""

    @abstractmethod
    def compiled(self, function: Callable[..., Any], batches: int = 0) -> Callable[..., Any]:
        """Return a pure function of nested tensors, compiled once for each way these are shaped.

        Parameters
        ----------
        function
            What is compiled.
        batches
            So many of its last arguments are batches, of any number of samples.
        """

    def compiled_for_once(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a pure function for a call or two: not compiled, where that is faster."""
        return function

    def predict_batch(self, X: Any) -> Any:
        """Return the model's outputs for one batch, as tensors."""
        return self._predict(self.forward_state(), tensors(X))

    def predict(self, X: Any, batch_size: int = _PREDICTION_BATCH) -> Any:
        """Return the model's outputs as NumPy arrays."""
        parts = []
        for start in range(0, samples_in(X), batch_size):
            batch = keras.tree.map_structure(lambda a, s=start: a[s : s + batch_size], X)
            parts.append(keras.tree.map_structure(_to_array, self.predict_batch(batch)))
        return keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)

    def outputs_of(self, X: Any) -> Any:
        """Return the model's outputs for a few samples, as arrays, without compiling for long."""
        found = self.compiled_for_once(self.forward)(self.forward_state(), tensors(X))
        return keras.tree.map_structure(_to_array, found)

    def loss_of(self, y: Targets, outputs: Any) -> float:
        """Return the targets' loss of a few predictions, both as arrays, without compiling for long."""
        found = self.compiled_for_once(self.hard_loss)(*tensors((y, outputs)))
        return float(keras.ops.convert_to_numpy(found))

    def evaluate(self, data: Dataset, metric: ModelMetric | keras.metrics.Metric) -> float:
        """Return a metric over all samples; of several outputs or metrics, the mean."""
        if metric not in self._evaluators:
            self._evaluators[metric] = MetricEvaluator(self, metric)
        with self._rounded_weights():
            return self._evaluators[metric](self._iterate_tensors(data))

    def evaluate_with_loss(self, data: Dataset, metric: ModelMetric) -> tuple[float, float]:
        """Return a metric as :meth:`evaluate` does, and what :meth:`evaluate_loss` returns, from one pass."""
        if metric not in self._with_loss:
            self._with_loss[metric] = MetricEvaluator(self, metric, with_loss=True)
        with self._rounded_weights():
            return self._with_loss[metric].with_loss(self._iterate_tensors(data))

    def round_weights(self, formats: Iterable[tuple[keras.Variable, FixedPrecision]]) -> None:
        """Train and evaluate with weights in their number formats from now on, before the first step.

        Parameters
        ----------
        formats
            As for :class:`~fabricfit.training.weight_rounding.WeightRounding`.
        """
        self.rounding = WeightRounding(self.model, formats)

    @contextmanager
    def _rounded_weights(self) -> Iterator[None]:
        """Give the model the weights as their number formats hold them, and its own again afterwards."""
        if not self.rounding:
            yield
            return
        variables = self.model.trainable_variables
        present = self.values_of(variables)
        self.assign(variables, self.rounding([variable.value for variable in variables]))
        try:
            yield
        finally:
            self.assign(variables, present)

    def evaluate_loss(self, data: Dataset) -> float:
        """Return the mean loss over all samples, the model's own penalties included."""
        return self.evaluate(data, self._loss_metric)

    def _iterate_tensors(self, data: Dataset) -> Iterator[tuple[Any, Any]]:
        if isinstance(data, Data) and data.resident:
            held, size = self._hold_on_device(data), _prediction_size(data)
            if size >= len(data):
                yield held
                return
            for start in range(0, len(data), size):
                part = slice(start, start + size)
                yield keras.tree.map_structure(lambda tensor, i=part: tensor[i], held)
        else:
            yield from map(tensors, data.batches(_PREDICTION_BATCH))

    def values_of(self, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
        """Return copies of variables' values."""
        return [keras.ops.convert_to_numpy(variable) for variable in variables]

    def assign(self, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
        """Give each variable its value."""
        assign_all(variables, values)

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all weights and states of the model."""
        return self.values_of(self.model.variables)

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Restore what :meth:`get_weights` returned."""
        self.assign(self.model.variables, weights)

    def get_state(self) -> EngineState:
        """Return copies of the weights and of the optimizer's state."""
        return EngineState(self.get_weights(), self.values_of(self.optimizer.variables))

    def set_state(self, state: EngineState) -> None:
        """Restore what :meth:`get_state` returned."""
        self.set_weights(state.weights)
        self.assign(self.optimizer.variables, state.optimizer)

    def get_random(self) -> np.ndarray | None:
        """Return the state of what a backend draws from a generator of its own, if it does."""
        return None

    def set_random(self, state: np.ndarray | None) -> None:
        """Restore what :meth:`get_random` returned."""
        del state

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments, step count and changed learning rate."""
        self.assign(self.optimizer.variables, self._fresh)

    def project_weights(self) -> None:
        """Set frozen weights to their values and shared ones to their mean, now."""
        variables = self.model.trainable_variables
        projected = self.projection.weights([v.value for v in variables])
        for position in self.projection.positions:
            variables[position].assign(projected[position])


def _prediction_size(data: Data) -> int:
    """Return how many samples are predicted in one go: many small ones."""
    numbers = sum(array[:1].size for array in keras.tree.flatten(data.X))
    return min(max(_NUMBERS_AT_ONCE // max(numbers, 1), 1), _MOST_AT_ONCE)


def _to_array(tensor: Any) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(to_floatx(tensor))
    return array


def assign_all(variables: Iterable[keras.Variable], values: Iterable[Any]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
