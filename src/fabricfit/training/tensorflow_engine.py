"""TensorFlow: a whole epoch as one graph, the data set inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fabricfit.errors import InvalidInputError, quoted_error
from fabricfit.samples import Dataset, Stream, samples_in
from fabricfit.training.evaluation import add_up
from fabricfit.training.pure_engine import PureEngine, State, cores
from fabricfit.training.tensorflow_optimizer import without_distribution

__all__ = ["BackendEngine"]


class BackendEngine(PureEngine):
    """One ``tf.function`` for each shape of data; weights, masks and strengths are arguments of it.

    Weights that the optimizer uses as one vector are packed when an epoch begins, and unpacked when it ends.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._compiled_epoch = self.compiled(self._train_epoch)
        # TensorFlow looks at all arguments of a function, which takes as long as a short epoch: the graphs
        # for samples of these kinds are called themselves.
        self._epochs: dict[Any, Any] = {}
        self._compiled_stream = self.compiled(self._train_stream)
        self._compiled_step = self.compiled(self._train_step_once)

    def _adapt_optimizer(self, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        return without_distribution(optimizer)

    @property
    def compilations(self) -> int:
        """How often a training step has been compiled."""
        steps = (self._compiled_epoch, self._compiled_stream, self._compiled_step)
        return sum(step.experimental_get_tracing_count() for step in steps)

    def train_epoch(self, data: Dataset, order: np.ndarray | None, batch_size: int) -> float:
        """Train on all samples once; a ``tf.data.Dataset`` is iterated within the graph."""
        if isinstance(data, Stream) and isinstance(data.source, tf.data.Dataset):
            data.note_pass()
            try:
                state, loss = self._compiled_stream(*self._read_state(), data.source, data)
            except tf.errors.ResourceExhaustedError:
                raise
            except tf.errors.OpError as error:  # of the caller's own functions, or of odd samples
                raise InvalidInputError(
                    f"a pass over the {data.name} data set has failed: {quoted_error(error)}"
                ) from error
            return self._write_back(state, float(loss))
        return super().train_epoch(data, order, batch_size)

    def _train_on_held(
        self, state: State, inputs: Any, held: tuple[Any, Any], order: np.ndarray, batch_size: int
    ) -> tuple[State, float]:
        arguments = (state, inputs, *held, *_make_sizes(order, batch_size))
        kind = _kind_of((*held, arguments[-2]))
        if kind not in self._epochs:
            self._epochs[kind] = self._compiled_epoch.get_concrete_function(*arguments)
        state, loss = self._epochs[kind](*arguments)
        return state, float(loss)

    def _train_on_batches(
        self, state: State, inputs: Any, pairs: Iterable[tuple[Any, Any]]
    ) -> tuple[State, float]:
        total, count = 0.0, 0
        for X, y in pairs:
            state, loss = self._compiled_step(state, inputs, *_make_tensors((X, y)))
            total, count = total + float(loss) * samples_in(X), count + samples_in(X)
        return state, total / count

    def _count_lanes(
        self, state: State, inputs: Any, held: tuple[Any, Any], batch_size: int
    ) -> int:
        """Return one where a graph depends on more than its arguments, such as a random generator."""
        sizes = _make_sizes(np.arange(samples_in(held[0])), batch_size)
        graph = self._compiled_epoch.get_concrete_function(state, inputs, *held, *sizes).graph
        depends = any(op.op_def.is_stateful for op in graph.get_operations())
        return 1 if depends or tf.config.list_logical_devices("GPU") else cores()

    def values_of(self, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
        """Return copies of variables' values, without a tensor on the way."""
        return [variable.value.numpy() for variable in variables]

    def assign(self, variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
        """Give each variable its value, without looking at it in between."""
        for variable, value in zip(variables, values, strict=True):
            variable.value.assign(value, read_value=False)

    def forward_state(self) -> tuple[()]:
        """Return nothing: weights are variables."""
        return ()

    def forward(self, state: tuple[()], X: Any) -> Any:
        """Return the model's outputs."""
        return self.model(X, training=False)

    def forward_with_penalties(self, state: tuple[()], X: Any) -> tuple[Any, Any]:
        """Return the model's outputs, and the sum of its own penalties."""
        return self.model(X, training=False), add_up(self.model.losses)

    def compiled(self, function: Callable[..., Any], batches: int = 0) -> Any:
        """Return a function as a graph, one for any number of samples."""
        # TensorFlow warns of retracing by a function's code; a partial is a function of its own.
        graph = tf.function(partial(function), reduce_retracing=True, autograph=False)
        if not batches:
            return graph

        def run(*arguments: Any) -> Any:
            if not graph.experimental_get_tracing_count():
                last = tf.nest.map_structure(_free_length, arguments[-batches:])
                graph.get_concrete_function(*arguments[:-batches], *last)
            return graph(*arguments)

        return run

    @property
    def _changing(self) -> tuple[list[keras.Variable], ...]:
        owner = self.model
        return owner.trainable_variables, owner.non_trainable_variables, self.optimizer.variables

    def _read_state(self) -> tuple[State, Any]:
        weights, other, moments = (
            _make_tensors([v.value for v in part]) for part in self._changing
        )
        return (weights, other, moments), _make_tensors((self.projection.state, self.penalty.state))

    def _write_state(self, state: State) -> None:
        for variables, values in zip(self._changing, state, strict=True):
            self.assign(variables, values)

    def _train_epoch(
        self, state: State, inputs: Any, X: Any, y: Any, order: tf.Tensor, batch_size: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        count = tf.size(order, tf.int64)
        state, inputs = self._pack_state(state), self.packed_inputs(*inputs)

        def batch(start: tf.Tensor, total: tf.Tensor, state: State) -> tuple[Any, ...]:
            index = order[start : start + batch_size]
            picked = tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), (X, y))
            state, loss = self._step(state, inputs, *picked)
            return start + batch_size, total + loss * tf.cast(tf.size(index), tf.float32), state

        loop = (tf.zeros((), tf.int64), tf.zeros(()), state)
        _, total, state = tf.while_loop(lambda start, *_: start < count, batch, loop)
        return self._unpack_state(state), total / tf.cast(count, tf.float32)

    def _train_stream(
        self, state: State, inputs: Any, dataset: tf.data.Dataset, stream: Stream
    ) -> tuple[State, tf.Tensor]:
        state, inputs = self._pack_state(state), self.packed_inputs(*inputs)

        def batch(sums: tuple[Any, ...], made: Any) -> tuple[Any, ...]:
            total, count, *leaves = sums
            pair = stream.arrange(made)
            samples = tf.cast(tf.shape(tf.nest.flatten(pair)[0])[0], tf.float32)
            updated, loss = self._step(tf.nest.pack_sequence_as(state, leaves), inputs, *pair)
            return total + loss * samples, count + samples, *tf.nest.flatten(updated)

        sums = dataset.reduce((tf.zeros(()), tf.zeros(()), *tf.nest.flatten(state)), batch)
        state = tf.nest.pack_sequence_as(state, sums[2:])
        return self._unpack_state(state), sums[0] / sums[1]

    def _train_step_once(
        self, state: State, inputs: Any, X: Any, y: Any
    ) -> tuple[State, tf.Tensor]:
        state, loss = self._step(self._pack_state(state), self.packed_inputs(*inputs), X, y)
        return self._unpack_state(state), loss

    def _pack_state(self, state: State) -> State:
        weights, other, moments = state
        return self.parameters.pack(weights), other, moments

    def _unpack_state(self, state: State) -> State:
        packed, other, moments = state
        return self.parameters.unpack(packed), other, moments

    def _step(self, state: State, inputs: Any, X: Any, y: Any) -> tuple[State, tf.Tensor]:
        packed, other, moments = state
        weights = self.parameters.unpack(packed)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss, updated = self.objective(weights, other, inputs, X, y)
            scaled = self.scaling.scale(loss, moments)
        missing = tf.UnconnectedGradients("zero" if self.parameters.flat else "none")
        gradients = tape.gradient(scaled, weights, unconnected_gradients=missing)
        loss, projected = self.optimizer_gradients(loss, _make_tensors(gradients), state, inputs)
        packed, moments = self.scaling.apply(moments, projected, packed)
        packed = self.projected(packed, inputs[0], constants=True)
        return (packed, updated, moments), tf.cast(loss, tf.float32)


def _kind_of(samples: Any) -> Any:
    """Return what a graph depends on in some tensors."""
    return tuple((each.shape, each.dtype) for each in tf.nest.flatten(samples))


def _make_sizes(order: np.ndarray, batch_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.convert_to_tensor(order, tf.int64), tf.constant(batch_size, tf.int64)


def _free_length(batch: Any) -> tf.TensorSpec:
    return tf.TensorSpec([None, *batch.shape[1:]], batch.dtype)


def _make_tensors(arrays: Any) -> Any:
    """Return nested arrays, variables or slices as tensors; ``None`` is kept."""
    return keras.tree.map_structure(
        lambda array: None if array is None else tf.convert_to_tensor(array),
        arrays,
        none_is_leaf=True,
    )
