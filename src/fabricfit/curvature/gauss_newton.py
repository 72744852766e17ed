"""The generalized Gauss–Newton diagonal, by backward passes from the network's outputs.

With one pass for each output it is exact. A network of many outputs has a few random combinations of
them instead: the square of a combination with independent signs is, on average, the sum of the squares
of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.curvature.loss_function import Problem
from fabricfit.curvature.probes import Estimate, draw_combinations
from fabricfit.curvature.samples import Batch, Samples

__all__ = ["gauss_newton_diagonal", "gauss_newton_estimate"]

_PASSES = 16
"""Largest number of backward passes in one compiled step: its graph grows with them."""

_BATCHES = 16
"""Least number of batches of an estimate: their scatter gives its error."""


def gauss_newton_diagonal(
    problem: Problem, samples: Samples, keys: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the diagonal of sum_n J_n^T H_n J_n for kernels with hooks, summed over samples.

    J_n is the Jacobian of the network's outputs, H_n the Hessian of the loss in them, for sample n.
    With H_n = sum_k scale_k v_k v_k^T, one backward pass with the cotangent v_k gives all samples'
    J^T v_k, layer by layer, as an outer product of which only squares are added up.
    """
    if not keys:
        return {}
    curvature = problem.curvature
    compiled = problem.step(("gauss-newton", *keys), partial(_make_step, problem, keys))
    passes = min(_PASSES, curvature.size)
    numbers = _numbers_per_sample(problem, passes) + curvature.numbers_per_sample(passes)
    values = problem.values()
    sums = [np.zeros(1) for _ in keys]
    for batch in problem.batches(samples, numbers):
        for start in range(0, curvature.size, passes):
            index = np.arange(start, start + passes, dtype=np.int32)
            used = (index < curvature.size).astype(keras.config.floatx())
            found = compiled(values, batch, np.minimum(index, curvature.size - 1), used)
            sums = [old + ops.convert_to_numpy(new) for old, new in zip(sums, found, strict=True)]
    return {
        key: problem.hooks[key].form.kernel(problem.hooks[key].layer, total)
        for key, total in zip(keys, sums, strict=True)
    }


def gauss_newton_estimate(
    problem: Problem, samples: Samples, keys: Sequence[str], passes: int, seed: int
) -> dict[str, Estimate]:
    """Estimate what :func:`gauss_newton_diagonal` returns, by a few passes for each sample.

    Parameters
    ----------
    problem, samples, keys
        As for :func:`gauss_newton_diagonal`. The samples should be in random order.
    passes
        Backward passes for each sample.
    seed
        Seed of the signs, which are the same on every backend.

    Returns
    -------
    dict
        Key -> the sum over samples and its variance, from the scatter of batches: that of the signs, and
        that of the samples as a draw from infinitely many.
    """
    if not keys:
        return {}
    curvature, rng = problem.curvature, np.random.default_rng(seed)
    step = problem.step(("combined", *keys), partial(_make_combined_step, problem, keys))
    numbers = _numbers_per_sample(problem, 2 * passes) + curvature.numbers_per_sample(2 * passes)
    values = problem.values()
    scatter = [_Scatter() for _ in keys]
    for batch in problem.batches(samples, numbers, -(-samples.size // _BATCHES)):
        count = int(batch.weights.sum())
        signs = draw_combinations(rng, batch, passes, curvature.size)
        for each, total in zip(scatter, step(values, batch, signs), strict=True):
            each.add(ops.convert_to_numpy(total) / passes, count / samples.size)
    return {
        key: each.estimate(partial(problem.hooks[key].form.kernel, problem.hooks[key].layer))
        for key, each in zip(keys, scatter, strict=True)
    }


def _make_step(problem: Problem, keys: Sequence[str]) -> Callable[..., list[Tensor]]:
    hooks = {key: problem.hooks[key] for key in keys}

    def step(values: list[Tensor], batch: Batch, index: Tensor, used: Tensor) -> list[Tensor]:
        z, inputs, pullback = _run(problem, keys, values, batch)
        scale, vectors = problem.curvature.factors(z, batch.y, batch.weights, index)
        deltas = problem.autodiff.each(pullback, vectors)
        scale = scale * used[:, None]
        return [
            _sum_of_squares(hooks[key].form.rows(hooks[key].layer, a), delta, scale)
            for key, a, delta in zip(keys, inputs, deltas, strict=True)
        ]

    return step


def _make_combined_step(problem: Problem, keys: Sequence[str]) -> Callable[..., list[Tensor]]:
    hooks = {key: problem.hooks[key] for key in keys}

    def step(values: list[Tensor], batch: Batch, signs: Tensor) -> list[Tensor]:
        z, inputs, pullback = _run(problem, keys, values, batch)
        left, right = problem.curvature.combinations(z, batch.y, batch.weights, signs)
        deltas = problem.autodiff.each(pullback, left)
        others = deltas if right is None else problem.autodiff.each(pullback, right)
        return [
            _sum_of_products(hooks[key].form.rows(hooks[key].layer, a), delta, other)
            for key, a, delta, other in zip(keys, inputs, deltas, others, strict=True)
        ]

    return step


def _run(
    problem: Problem, keys: Sequence[str], values: list[Tensor], batch: Batch
) -> tuple[Tensor, list[Tensor], Callable[[Tensor], list[Tensor]]]:
    """Return the network's outputs, the inputs of the layers, and what brings cotangents back to them."""
    hooks = {key: problem.hooks[key] for key in keys}

    def network(shifts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        named = dict(zip(keys, shifts, strict=True))
        found = problem.run(values, batch.x, hooks, named, problem.heads)
        return problem.curvature.join(found.outputs), [found.inputs[key] for key in keys]

    return problem.autodiff.vjp(network, [problem.zero_shift(key, batch) for key in keys])


def _numbers_per_sample(problem: Problem, passes: int) -> int:
    sizes = problem.sizes.values()
    squares = sum(2 * passes * g * i * f for p, g, i, f in sizes if p > 1)
    return problem.numbers_per_sample(passes) + squares


def _sum_of_squares(rows: Tensor, deltas: Tensor, scale: Tensor) -> Tensor:
    """Add up squared weight gradients over samples n and passes k, weighted.

    Parameters
    ----------
    rows
        Shape ``(n, p, g, i)``.
    deltas
        Shape ``(k, n, p, g, f)``.
    scale
        Shape ``(k, n)``.

    Returns
    -------
    tensor of shape ``(i, g, f)``
    """
    rows = ops.cast(rows, deltas.dtype)
    if rows.shape[1] == 1:  # the square of a product is the product of the squares
        weighted = ops.sum(ops.square(deltas) * scale[:, :, None, None, None], axis=0)
        return ops.einsum("ngi,ngf->igf", ops.square(rows[:, 0]), weighted[:, 0])
    gradients = ops.einsum("npgi,knpgf->knigf", rows, deltas)
    return ops.einsum("knigf,kn->igf", ops.square(gradients), scale)


def _sum_of_products(rows: Tensor, deltas: Tensor, others: Tensor) -> Tensor:
    """Add up the products of two weight gradients each over samples and passes; shapes as above."""
    rows = ops.cast(rows, deltas.dtype)
    if rows.shape[1] == 1:
        products = ops.sum(deltas * others, axis=0)
        return ops.einsum("ngi,ngf->igf", ops.square(rows[:, 0]), products[:, 0])
    gradients = ops.einsum("npgi,knpgf->knigf", rows, deltas)
    if others is deltas:
        return ops.sum(ops.square(gradients), axis=(0, 1))
    return ops.sum(gradients * ops.einsum("npgi,knpgf->knigf", rows, others), axis=(0, 1))


class _Scatter:
    """A sum over batches in double precision, with what the batches' scatter says of its variance."""

    def __init__(self) -> None:
        self._total = self._crossed = self._squares = np.zeros(1)
        self._shares = 0.0
        self._batches = 0

    def add(self, found: np.ndarray, share: float) -> None:
        """Add a batch's sum; ``share`` is its part of all samples."""
        exact = found.astype(np.float64)
        self._total = self._total + exact
        self._crossed = self._crossed + share * exact
        self._squares = self._squares + exact**2
        self._shares += share**2
        self._batches += 1

    def estimate(self, kernel: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Return the sum, and its variance; infinite after a single batch."""
        # sum over batches of (found - share * total)^2
        residues = self._squares - 2 * self._total * self._crossed + self._shares * self._total**2
        if self._batches == 1:
            variance = np.full_like(self._total, np.inf)
        else:
            variance = self._batches / (self._batches - 1) * np.maximum(residues, 0)
        return Estimate(kernel(self._total), kernel(variance))
