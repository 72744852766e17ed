"""The Hessian's diagonal by random probes: unbiased at any number of them, with its error.

For random signs v, independent of each other, ``v_i (H v)_i`` is H_ii on average. One and the same
v for a whole data set would leave noise of the size of the diagonal; but the Hessian of the mean loss
is a mean over samples, and every sample may have signs of its own, in one product for all
of them. So the noise falls with the number of samples *times* probes.

A kernel whose layer is a matrix product used once is reached through its pre-activation s, where
the samples do not mix. Gauss–Newton is computed in closed form; probes estimate the remainder, the
Hessian of ``z · ∂L/∂z`` in s with the network's outputs z, ∂L/∂z held fixed.
Any other kernel is probed in its weights, with signs of their own for every few samples.

The spread among the probes of one sample gives the error, weight by weight.

References
----------
M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian
smoothing splines", Communications in Statistics 18 (1989) 1059.

C. Bekas, E. Kokiopoulou, Y. Saad, "An estimator for the diagonal of a matrix", Applied Numerical
Mathematics 57 (2007) 1214.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.curvature.exact import gradient_in_weights
from fabricfit.curvature.loss_function import Problem
from fabricfit.curvature.samples import Batch, Samples

__all__ = [
    "Estimate",
    "default_probes",
    "draw_combinations",
    "estimated_diagonal",
    "relative_error",
]

_SAMPLES_AND_PROBES = 2**15
"""Samples times probes in a layer's pre-activation, where the caller gives no number of probes."""

_BATCHES_AND_PROBES = 2**13
"""Batches times probes in a layer's weights, where the caller gives no number of probes."""

_SAMPLES_PER_SIGN = 32
"""Samples that share their signs where a kernel is probed in its weights."""

_PRODUCTS = 8
"""Most Hessian-vector products in one compiled step in a layer's pre-activation."""

_PRODUCTS_IN_WEIGHTS = 4
"""The same for products in the weights themselves, whose graphs are larger."""

_Step = Callable[[list[Tensor], Batch, np.ndarray], list[Tensor]]


class Estimate(NamedTuple):
    """A sum over samples for every weight, and the variance that the probes leave in it."""

    total: np.ndarray
    variance: np.ndarray


def default_probes(problem: Problem, samples: Samples, key: str) -> int:
    """Return how many probes a kernel gets: the fewer, the more samples average their noise."""
    if key in problem.hooks:
        wanted = math.ceil(_SAMPLES_AND_PROBES / samples.size)
    else:
        wanted = math.ceil(_BATCHES_AND_PROBES / math.ceil(samples.size / _SAMPLES_PER_SIGN))
    return max(wanted, 2)


def estimated_diagonal(
    problem: Problem, samples: Samples, key: str, probes: int, seed: int
) -> Estimate:
    """Estimate the Hessian's diagonal for one kernel; of one with a hook the remainder alone.

    Parameters
    ----------
    problem, samples
        The loss, and the data that it is differentiated on.
    key
        The kernel.
    probes
        Products for each sample, at least 2; rounded up to fill compiled steps.
    seed
        Seed of the signs, which are the same on any backend and, for a kernel with a hook, in batches of any
        size.
    """
    rng = np.random.default_rng([seed, *key.encode()])
    if key in problem.hooks:
        return _in_activation(problem, samples, key, probes, rng)
    return _in_weights(problem, samples, key, probes, rng)


def relative_error(estimate: Estimate) -> float:
    """Return the root mean square of the error over that of the diagonal, itself unknown.

    The mean square of an estimate is that of the truth and the variance; ``inf`` where nothing is
    left without the latter.
    """
    noise = float(np.mean(estimate.variance))
    signal = float(np.mean(np.square(estimate.total))) - noise
    if noise <= 0:
        return 0.0
    return math.sqrt(noise / signal) if signal > 0 else math.inf


def _in_activation(
    problem: Problem, samples: Samples, key: str, probes: int, rng: np.random.Generator
) -> Estimate:
    p, g, i, f = problem.sizes[key]
    steps, products = _divide_into_steps(probes, _PRODUCTS)
    folded = products * g * (4 * p * f + (3 * i * f if p > 1 else 0)) + steps * products * p * g * f
    step = problem.step(("remainder", key), partial(_make_step_in_activation, problem, key))
    values, sums = problem.values(), _Sums()
    for batch in problem.batches(samples, problem.numbers_per_sample(2 + products) + folded):
        real = int(batch.weights.sum())
        signs = np.zeros((len(batch.weights), steps * products, p, g, f), np.int8)
        signs[:real] = _draw_signs(rng, real, signs.shape[1:])
        for along in np.split(np.moveaxis(signs, 1, 0), steps):
            sums.add(step(values, batch, along))
    kernel = partial(problem.hooks[key].form.kernel, problem.hooks[key].layer)
    return sums.estimate(steps, products, kernel)


def _make_step_in_activation(problem: Problem, key: str) -> _Step:
    hook, autodiff, curvature = problem.hooks[key], problem.autodiff, problem.curvature

    def step(values: list[Tensor], batch: Batch, signs: Tensor) -> list[Tensor]:
        def gradient(shift: list[Tensor]) -> tuple[Tensor, Tensor]:
            def linearized(shift: list[Tensor]) -> tuple[Tensor, Tensor]:
                hooks, shifts = {key: hook}, {key: shift[0]}
                found = problem.run(values, batch.x, hooks, shifts, problem.heads)
                z = curvature.join(found.outputs)
                fixed = ops.stop_gradient(curvature.gradient(z, batch.y, batch.weights))
                return ops.sum(z * fixed), found.inputs[key]

            value, inputs, pullback = autodiff.vjp(linearized, shift, twice=True)
            return pullback(ops.ones_like(value))[0], inputs

        delta, inputs, pullback = autodiff.vjp(gradient, [problem.zero_shift(key, batch)])
        rows = ops.cast(ops.stop_gradient(hook.form.rows(hook.layer, inputs)), delta.dtype)
        along = ops.cast(signs, delta.dtype)
        return _products_of_weights(rows, along, autodiff.each(pullback, along)[0])

    return step


def _products_of_weights(rows: Tensor, along: Tensor, products: Tensor) -> list[Tensor]:
    """Bring probes of pre-activations to the weights; add up over samples and probes.

    Parameters
    ----------
    rows
        Shape ``(n, p, g, i)``.
    along, products
        Signs, and the remainder's products with them, shape ``(k, n, p, g, f)``.

    Returns
    -------
    list
        What :func:`_moments` returns, each of shape ``(i, g, f)``.
    """
    if rows.shape[1] == 1:  # every product has the same factor, the input's square
        total, spread = _moments((along * products)[:, :, 0])
        squared = ops.square(rows[:, 0])
        return [
            ops.einsum("ngi,ngf->igf", squared, total),
            ops.einsum("ngi,ngf->igf", ops.square(squared), spread),
        ]
    there = ops.einsum("npgi,knpgf->knigf", rows, along)
    moments = _moments(there * ops.einsum("npgi,knpgf->knigf", rows, products))
    return [ops.sum(moment, axis=0) for moment in moments]


def _in_weights(
    problem: Problem, samples: Samples, key: str, probes: int, rng: np.random.Generator
) -> Estimate:
    shape = tuple(problem.kernels[key].shape)
    steps, products = _divide_into_steps(probes, _PRODUCTS_IN_WEIGHTS)
    numbers = problem.numbers_per_sample(2 * products)
    step = problem.step(("probes", key), partial(_make_step_in_weights, problem, key))
    values, sums = problem.values(), _Sums()
    for batch in problem.batches(samples, numbers, _SAMPLES_PER_SIGN):
        for _ in range(steps):
            sums.add(step(values, batch, _draw_signs(rng, 1, (products, *shape))[0]))
    return sums.estimate(steps, products, lambda found: found)


def _make_step_in_weights(problem: Problem, key: str) -> _Step:
    def step(values: list[Tensor], batch: Batch, signs: Tensor) -> list[Tensor]:
        gradient, pullback = gradient_in_weights(problem, key, values, batch)
        along = ops.cast(signs, gradient.dtype)
        return _moments(along * problem.autodiff.each(pullback, along)[0])

    return step


def _moments(found: Tensor) -> list[Tensor]:
    """Return the sum over the first axis, and the unbiased variance along it."""
    mean = ops.mean(found, axis=0)
    squares = ops.sum(ops.square(found - mean[None]), axis=0)
    return [mean * found.shape[0], squares / (found.shape[0] - 1)]


class _Sums:
    """Sums of the steps' results in double precision."""

    def __init__(self) -> None:
        self._total = self._spread = np.zeros(1)

    def add(self, found: list[Tensor]) -> None:
        self._total = self._total + ops.convert_to_numpy(found[0])
        self._spread = self._spread + ops.convert_to_numpy(found[1])

    def estimate(
        self, steps: int, products: int, kernel: Callable[[np.ndarray], np.ndarray]
    ) -> Estimate:
        """Return the mean over all probes; each step gave the variance of one of them."""
        probes = steps * products
        return Estimate(kernel(self._total / probes), kernel(self._spread / (steps * probes)))


def _divide_into_steps(probes: int, most: int) -> tuple[int, int]:
    """Return how many steps of how many products make so many probes, or a few more."""
    steps = math.ceil(probes / most)
    return steps, math.ceil(probes / steps)


def draw_combinations(
    rng: np.random.Generator, batch: Batch, passes: int, outputs: int
) -> np.ndarray:
    """Draw signs of outputs for a batch, shape ``(passes, n, outputs)``; 0 for what fills it up."""
    real = int(batch.weights.sum())
    signs = np.zeros((passes, len(batch.weights), outputs), np.int8)
    signs[:, :real] = _draw_signs(rng, real, (passes, outputs)).swapaxes(0, 1)
    return signs


def _draw_signs(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draw random signs of shape ``(count, *shape)``; each of the count uses whole 64-bit words."""
    size = math.prod(shape)
    words = rng.integers(0, 2**64 - 1, (count, -(-size // 64)), np.uint64, endpoint=True)
    bits = np.unpackbits(words.view(np.uint8), axis=1, count=size)
    return (2 * bits.astype(np.int8) - 1).reshape(count, *shape)
