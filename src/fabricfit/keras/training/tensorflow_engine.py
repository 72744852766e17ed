"""TensorFlow: a whole epoch as one graph, the data set inside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fabricfit.keras.training.data import Dataset, Stream
from fabricfit.keras.training.engine import Engine

__all__ = ["BackendEngine"]


class BackendEngine(Engine):
    """One ``tf.function`` for each shape of data; weights, masks and strengths are variables in it."""

    flattens = False  # the graph's executor begins small operations fast enough

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._compiled_epoch = self.compiled(self._epoch)
        self._compiled_stream = self.compiled(self._stream)
        self._compiled_step = self.compiled(self._step)

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

    def forward_state(self) -> tuple[()]:
        """Return nothing: weights are variables."""
        return ()

    @tf.autograph.experimental.do_not_convert
    def forward(self, state: tuple[()], X: Any) -> Any:
        """Return the model's outputs."""
        return self.model(X, training=False)

    def compiled(self, function: Callable[..., Any]) -> Any:
        """Return a function as a graph."""
        # TensorFlow warns of retracing by a function's code; a partial is a function of its own.
        return tf.function(partial(function), reduce_retracing=True)

    def _epoch(self, X: Any, y: Any, order: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
        count = tf.size(order, tf.int64)
        total = tf.zeros(())
        for start in tf.range(tf.constant(0, tf.int64), count, batch_size):
            index = order[start : start + batch_size]
            batch_X, batch_y = tf.nest.map_structure(lambda a, i=index: tf.gather(a, i), (X, y))
            loss = self._step(batch_X, batch_y)
            total += tf.cast(loss, tf.float32) * tf.cast(tf.size(index), tf.float32)
        return total / tf.cast(count, tf.float32)

    def _stream(self, dataset: tf.data.Dataset) -> tf.Tensor:
        total, count = tf.zeros(()), tf.zeros(())
        for batch_X, batch_y in dataset:
            samples = tf.cast(tf.shape(tf.nest.flatten(batch_X)[0])[0], tf.float32)
            total += tf.cast(self._step(batch_X, batch_y), tf.float32) * samples
            count += samples
        return total / count

    @tf.autograph.experimental.do_not_convert
    def _step(self, X: Any, y: Any) -> tf.Tensor:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(y, self.model(X, training=True))
            total = loss + sum(self.model.losses) + self.penalty([v.value for v in variables])
        gradients = tape.gradient(total, [v.value for v in variables])
        self.optimizer.apply(self.projection.gradients(gradients), variables)
        self.project_weights()
        return total


def _tensors(arrays: Any) -> Any:
    return keras.tree.map_structure(tf.convert_to_tensor, arrays)
