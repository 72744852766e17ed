"""The generalized Gauss–Newton diagonal: one backward pass for each output of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.curvature.loss_function import Problem
from fabricfit.curvature.samples import Batch, Samples

__all__ = ["gauss_newton_diagonal"]

_PASSES = 16
"""Largest number of backward passes in one compiled step: its graph grows with them."""


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


def _make_step(problem: Problem, keys: Sequence[str]) -> Callable[..., list[Tensor]]:
    hooks = {key: problem.hooks[key] for key in keys}
    curvature, autodiff = problem.curvature, problem.autodiff

    def step(values: list[Tensor], batch: Batch, index: Tensor, used: Tensor) -> list[Tensor]:
        def network(shifts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            named = dict(zip(keys, shifts, strict=True))
            found = problem.run(values, batch.x, hooks, named, problem.heads)
            return curvature.join(found.outputs), [found.inputs[key] for key in keys]

        zeros = [problem.zero_shift(key, batch) for key in keys]
        z, inputs, pullback = autodiff.vjp(network, zeros)
        scale, vectors = curvature.factors(z, batch.y, batch.weights, index)
        deltas = autodiff.each(pullback, vectors)
        scale = scale * used[:, None]
        return [
            _sum_of_squares(hooks[key].form.rows(hooks[key].layer, a), delta, scale)
            for key, a, delta in zip(keys, inputs, deltas, strict=True)
        ]

    return step


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
