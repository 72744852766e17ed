"""TensorFlow: a whole epoch as one graph, the data set inside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fabricfit.keras.training.data import Dataset, Stream
from fabricfit.keras.training.engine import Engine, assign_all

__all__ = ["BackendEngine"]


class BackendEngine(Engine):
    """One ``tf.function`` for each shape of data; weights, masks and strengths are variables in it.

    What the optimizer takes as one vector is put together when an epoch begins, and taken apart when it ends.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._compiled_epoch = self.compiled(self._epoch)
        self._compiled_stream = self.compiled(self._stream)
        self._compiled_step = self.compiled(self._single_step)

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        steps = (self._compiled_epoch, self._compiled_stream, self._compiled_step)
        return sum(step.experimental_get_tracing_count() for step in steps)

    def step(self, X: Any, y: Any) -> float:
        """Train on one batch."""
        return float(self._compiled_step(*_tensors((X, y))))

    def _train_resident(self, held: tuple[Any, Any], order: np.ndarray, batch_size: int) -> float:
        index = tf.convert_to_tensor(order, tf.int64)
        return float(self._compiled_epoch(*held, index, tf.constant(batch_size, tf.int64)))

    def _train_stream(self, data: Dataset, order: np.ndarray | None, batch_size: int) -> float:
        if isinstance(data, Stream) and isinstance(data.source, tf.data.Dataset):
            return float(self._compiled_stream(data.source))
        return super()._train_stream(data, order, batch_size)

    def values_of(self, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
        """Return copies of variables' values, without a tensor on the way."""
        return [np.array(variable.value) for variable in variables]

    def assign(self, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
        """Give each variable its value, without looking at it in between."""
        for variable, value in zip(variables, values, strict=True):
            variable.value.assign(value, read_value=False)

    def forward_state(self) -> tuple[()]:
        """Return nothing: weights are variables."""
        return ()

    def forward(self, state: tuple[()], X: Any) -> Any:
        """Return the model's outputs."""
        return self.model(X, training=False)

    def compiled(self, function: Callable[..., Any], batches: int = 0) -> Any:
        """Return a function as a graph, one for any number of samples."""
        # TensorFlow warns of retracing by a function's code; a partial is a function of its own.
        graph = tf.function(partial(function), reduce_retracing=True, autograph=False)
        if not batches:
            return graph

        def run(*arguments: Any) -> Any:
            if not graph.experimental_get_tracing_count():
                last = tf.nest.map_structure(_of_any_length, arguments[-batches:])
                graph.get_concrete_function(*arguments[:-batches], *last)
            return graph(*arguments)

        return run

    def _epoch(self, X: Any, y: Any, order: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
        count, inputs = tf.size(order, tf.int64), self.inputs()

        def batch(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            index = order[start : start + batch_size]
            picked = tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), (X, y))
            loss = tf.cast(self._step(inputs, *picked), tf.float32)
            return start + batch_size, total + loss * tf.cast(tf.size(index), tf.float32)

        self._begin()
        start = tf.zeros((), tf.int64)
        _, total = tf.while_loop(lambda start, _: start < count, batch, (start, tf.zeros(())))
        self._end()
        return total / tf.cast(count, tf.float32)

    def _stream(self, dataset: tf.data.Dataset) -> tf.Tensor:
        inputs = self.inputs()

        def batch(sums: tuple[tf.Tensor, tf.Tensor], pair: Any) -> tuple[tf.Tensor, tf.Tensor]:
            samples = tf.cast(tf.shape(tf.nest.flatten(pair)[0])[0], tf.float32)
            loss = tf.cast(self._step(inputs, *pair), tf.float32)
            return sums[0] + loss * samples, sums[1] + samples

        self._begin()
        total, count = dataset.reduce((tf.zeros(()), tf.zeros(())), batch)
        self._end()
        return total / count

    def _single_step(self, X: Any, y: Any) -> tf.Tensor:
        self._begin()
        loss = self._step(self.inputs(), X, y)
        self._end()
        return loss

    def _begin(self) -> None:
        """Put the weights together, if the optimizer wants them so."""
        if self.parameters.flat:
            weights = [variable.value for variable in self.model.trainable_variables]
            assign_all(self.parameters.built_on, self.parameters.pack(weights))

    def _end(self) -> None:
        """Give the model what :meth:`_begin` took."""
        if self.parameters.flat:
            packed = [variable.value for variable in self.parameters.built_on]
            assign_all(self.model.trainable_variables, self.parameters.unpack(packed))

    def _step(self, inputs: tuple[Any, Any], X: Any, y: Any) -> tf.Tensor:
        packed, others = self.parameters.built_on, self.model.non_trainable_variables
        weights = self.parameters.unpack([tf.convert_to_tensor(v.value) for v in packed])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss, updated = self.objective(weights, [v.value for v in others], inputs, X, y)
        missing = tf.UnconnectedGradients("zero" if self.parameters.flat else "none")
        gradients = tape.gradient(loss, weights, unconnected_gradients=missing)
        values = [variable.value for variable in packed]
        loss, slopes = self.slopes(loss, gradients, values, inputs)
        self.optimizer.apply(slopes, packed)
        values = self.projected([variable.value for variable in packed], inputs[0], constants=True)
        assign_all([*packed, *others], [*values, *updated])
        return loss


def _of_any_length(batch: Any) -> tf.TensorSpec:
    return tf.TensorSpec([None, *batch.shape[1:]], batch.dtype)


def _tensors(arrays: Any) -> Any:
    return keras.tree.map_structure(tf.convert_to_tensor, arrays)
