"""Training with TensorFlow and nothing else: an epoch is one function over tensors in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.epochs import timed_epochs
from benchmarks.rivals.parameters import initial_parameters
from benchmarks.task import Task
from benchmarks.workloads import LEARNING_RATE, WORKLOADS, load_samples

__all__ = ["loop_task"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def loop_task(name: str, directory: str, warm: int, measured: int) -> Task:
    """Prepare epochs of the loop, as a graph and compiled by XLA; the faster one counts."""
    samples = load_samples(name, directory)

    def work() -> dict[str, Any]:
        found = []
        for how in ("graph", "XLA"):
            loop = _Loop(name, *samples.train, compiled=how == "XLA")
            rng = np.random.default_rng(0)
            found.append(timed_epochs(lambda one=loop, r=rng: one.epoch(r), warm, measured, how))
        return min(found, key=lambda each: each["epoch_least"])

    return Task(work, dict)


class _Loop:
    def __init__(self, name: str, X: np.ndarray, y: np.ndarray, compiled: bool) -> None:
        self._forward = FORWARD[name]
        self._batch = WORKLOADS[name].batch_size
        self._X, self._y = tf.constant(X), tf.constant(y)
        self._weights = [tf.Variable(value) for value in initial_parameters(name)]
        self._first = [tf.Variable(tf.zeros_like(weight)) for weight in self._weights]
        self._second = [tf.Variable(tf.zeros_like(weight)) for weight in self._weights]
        self._powers = [tf.Variable(BETA_1), tf.Variable(BETA_2)]
        self._run = tf.function(self._epoch, jit_compile=compiled)

    def epoch(self, rng: np.random.Generator) -> float:
        """Train on all samples in a random order; return the mean loss."""
        count = int(self._X.shape[0])
        return float(self._run(tf.constant(rng.permutation(count).astype(np.int32))))

    def _epoch(self, order: tf.Tensor) -> tf.Tensor:
        X, y = tf.gather(self._X, order), tf.gather(self._y, order)
        count, batch, total = int(self._X.shape[0]), self._batch, tf.zeros(())
        whole = count // batch
        for number in tf.range(whole):
            start = number * batch
            rows = tf.slice(X, [start, *[0] * (len(X.shape) - 1)], [batch, *X.shape[1:]])
            total += self._step(rows, tf.slice(y, [start], [batch])) * batch
        if count > whole * batch:
            rest = self._step(X[whole * batch :], y[whole * batch :])
            total += rest * (count - whole * batch)
        return total / count

    def _step(self, X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = self._forward(self._weights, X)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._weights)
        powers = [power.read_value() for power in self._powers]
        parts = zip(self._weights, self._first, self._second, gradients, strict=True)
        for weight, first, second, gradient in parts:
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=LEARNING_RATE,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )
        for power, beta in zip(self._powers, (BETA_1, BETA_2), strict=True):
            power.assign(power * beta)
        return loss


def _jets(weights: list[Any], X: tf.Tensor) -> tf.Tensor:
    return _dense(weights, X)


def _lenet(weights: list[Any], X: tf.Tensor) -> tf.Tensor:
    for position, padding in ((0, "SAME"), (2, "VALID")):
        kernel, bias = weights[position : position + 2]
        X = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(X, kernel, 1, padding), bias))
        X = tf.nn.max_pool2d(X, 2, 2, "VALID")
    return _dense(weights[4:], tf.reshape(X, (-1, weights[4].shape[0])))


def _dense(weights: list[Any], X: tf.Tensor) -> tf.Tensor:
    *hidden, kernel, bias = weights
    for inner, shift in zip(hidden[::2], hidden[1::2], strict=True):
        X = tf.nn.relu(tf.nn.bias_add(tf.matmul(X, inner), shift))
    return tf.nn.bias_add(tf.matmul(X, kernel), bias)


FORWARD: dict[str, Callable[[list[Any], tf.Tensor], tf.Tensor]] = {"jets": _jets, "lenet": _lenet}
