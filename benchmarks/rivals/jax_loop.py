"""Training with JAX and nothing else: compiled steps, or a whole epoch as one compiled scan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.epochs import timed_epochs
from benchmarks.rivals.parameters import initial_parameters
from benchmarks.task import Task
from benchmarks.workloads import LEARNING_RATE, WORKLOADS, load_samples

__all__ = ["loop_task"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def loop_task(name: str, directory: str, warm: int, measured: int) -> Task:
    """Prepare epochs of both loops; the faster one counts."""
    samples = load_samples(name, directory)

    def work() -> dict[str, Any]:
        found = []
        for how, epoch in (("step by step", _Steps), ("scan", _Scan)):
            loop = epoch(name, *samples.train)
            rng = np.random.default_rng(0)
            found.append(timed_epochs(lambda one=loop, r=rng: one.epoch(r), warm, measured, how))
        return min(found, key=lambda each: each["epoch_least"])

    return Task(work, dict)


class _Loop:
    def __init__(self, name: str, X: np.ndarray, y: np.ndarray) -> None:
        self.batch = WORKLOADS[name].batch_size
        self.X, self.y = jax.device_put((X, y))
        weights = jax.device_put(initial_parameters(name))
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state = (weights, zeros(weights), zeros(weights), jnp.zeros((), jnp.int32))
        self.step = partial(_step, FORWARD[name])


class _Steps(_Loop):
    """A compiled step with the whole data set and the samples' numbers as arguments; its state is donated."""

    def __init__(self, name: str, X: np.ndarray, y: np.ndarray) -> None:
        super().__init__(name, X, y)

        def run(state: Any, X: jax.Array, y: jax.Array, index: jax.Array) -> Any:
            return self.step(state, X[index], y[index])

        self.run = jax.jit(run, donate_argnums=0)

    def epoch(self, rng: np.random.Generator) -> float:
        """Train on all samples in a random order; return the mean loss."""
        order, total = rng.permutation(len(self.y)).astype(np.int32), 0.0
        losses = []
        for start in range(0, len(order), self.batch):
            index = order[start : start + self.batch]
            self.state, loss = self.run(self.state, self.X, self.y, index)
            losses.append((loss, len(index)))
        for loss, count in losses:
            total += float(loss) * count
        return total / len(order)


class _Scan(_Loop):
    """All whole batches are one scan; what is left is a step of its own in the same function."""

    def __init__(self, name: str, X: np.ndarray, y: np.ndarray) -> None:
        super().__init__(name, X, y)
        count, batch = len(y), self.batch
        whole = count // batch * batch

        def run(state: Any, X: jax.Array, y: jax.Array, order: jax.Array) -> Any:
            X, y = X[order], y[order]
            batches = [each[:whole].reshape(-1, batch, *each.shape[1:]) for each in (X, y)]
            state, losses = jax.lax.scan(lambda s, pair: self.step(s, *pair), state, batches)
            total = losses.sum() * batch
            if whole < count:
                state, loss = self.step(state, X[whole:], y[whole:])
                total += loss * (count - whole)
            return state, total / count

        self.run = jax.jit(run, donate_argnums=0)

    def epoch(self, rng: np.random.Generator) -> float:
        """Train on all samples in a random order; return the mean loss."""
        order = rng.permutation(len(self.y)).astype(np.int32)
        self.state, loss = self.run(self.state, self.X, self.y, order)
        return float(loss)


def _step(forward: Callable[..., jax.Array], state: Any, X: jax.Array, y: jax.Array) -> Any:
    weights, first, second, count = state

    def mean_loss(weights: list[jax.Array]) -> jax.Array:
        scores = jax.nn.log_softmax(forward(weights, X))
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    loss, gradients = jax.value_and_grad(mean_loss)(weights)
    count = count + 1
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradients)
    rate = LEARNING_RATE * jnp.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), weights, first, second
    )
    return (weights, first, second, count), loss


def _dense(weights: list[jax.Array], X: jax.Array) -> jax.Array:
    *hidden, kernel, bias = weights
    for inner, shift in zip(hidden[::2], hidden[1::2], strict=True):
        X = jax.nn.relu(X @ inner + shift)
    return X @ kernel + bias


def _lenet(weights: list[jax.Array], X: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    window = (1, 2, 2, 1)
    for position, padding in ((0, "SAME"), (2, "VALID")):
        kernel, bias = weights[position : position + 2]
        X = jax.lax.conv_general_dilated(X, kernel, (1, 1), padding, dimension_numbers=layout)
        X = jax.nn.relu(X + bias)
        X = jax.lax.reduce_window(X, -jnp.inf, jax.lax.max, window, window, "VALID")
    return _dense(weights[4:], X.reshape(len(X), -1))


FORWARD: dict[str, Callable[..., jax.Array]] = {"jets": _dense, "lenet": _lenet}
