"""The Hessian's diagonal by Hessian-vector products: exact for every smooth loss and architecture.

A kernel whose layer is a matrix product used once is reached through that layer's pre-activation s,
in which the loss's Hessian is block diagonal over samples, so that one product serves all samples::

    d²L/dW[i, f]² = sum_n sum_pq a[n, p, i] a[n, q, i] d²L_n/ds[n, p, f] ds[n, q, f]

The products are computed along single elements of s (``positions × outputs`` of them, which is one for
each unit of a plain Dense layer) or along a weight's whole effect (one for each weight), whichever
are fewer. Any other kernel needs one product for each weight, in the weights themselves.

References
----------
B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994) 147.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Pullback, Tensor
from fabricfit.curvature.loss_function import Problem
from fabricfit.curvature.samples import Batch, Samples

__all__ = ["exact_diagonal", "gradient_in_weights", "product_count"]

_PRODUCTS = 16
"""Largest number of Hessian-vector products in one compiled step in a layer's pre-activation."""

_PRODUCTS_IN_WEIGHTS = 4
"""The same for products in the weights themselves, whose graphs are larger."""

_Step = Callable[[list[Tensor], Batch, np.ndarray], Tensor]


def exact_diagonal(
    problem: Problem, samples: Samples, keys: Iterable[str]
) -> dict[str, np.ndarray]:
    """Return the diagonal of the Hessian for some kernels, summed over samples."""
    return {
        key: (_in_activation if key in problem.hooks else _in_weights)(problem, samples, key)
        for key in keys
    }


def product_count(problem: Problem, key: str) -> int:
    """Return how many Hessian-vector products a kernel needs for each batch."""
    if key not in problem.hooks:
        return math.prod(problem.kernels[key].shape)
    p, g, i, f = problem.sizes[key]
    return min(p, i) * g * f


def _in_activation(problem: Problem, samples: Samples, key: str) -> np.ndarray:
    p, g, i, f = problem.sizes[key]
    by_position = p <= i
    folded = _PRODUCTS * p * g * (2 * f + i if by_position else 4 * f)
    numbers = problem.numbers_per_sample(2 + _PRODUCTS) + folded
    step = problem.step(("exact", key), partial(_make_step_in_activation, problem, key))
    count = (p if by_position else i) * g * f
    sums = _accumulate(problem, samples, step, count, numbers, _PRODUCTS)
    matrix = (
        # (p g f, i): each position adds to the same weights
        sums.reshape(p, g, f, i).sum(axis=0).transpose(2, 0, 1)
        if by_position
        else sums.reshape(i, g, f)
    )
    return problem.hooks[key].form.kernel(problem.hooks[key].layer, matrix)


def _make_step_in_activation(problem: Problem, key: str) -> _Step:
    p, g, i, f = problem.sizes[key]
    hook, autodiff, curvature = problem.hooks[key], problem.autodiff, problem.curvature
    by_position = p <= i

    def step(values: list[Tensor], batch: Batch, index: Tensor) -> Tensor:
        def gradient(shift: list[Tensor]) -> tuple[Tensor, Tensor]:
            def total(shift: list[Tensor]) -> tuple[Tensor, Tensor]:
                hooks, shifts = {key: hook}, {key: shift[0]}
                found = problem.run(values, batch.x, hooks, shifts, problem.heads)
                z = curvature.join(found.outputs)
                return curvature.total(z, batch.y, batch.weights), found.inputs[key]

            value, inputs, pullback = autodiff.vjp(total, shift, twice=True)
            return pullback(ops.ones_like(value))[0], inputs

        delta, inputs, pullback = autodiff.vjp(gradient, [problem.zero_shift(key, batch)])
        rows = ops.cast(ops.stop_gradient(hook.form.rows(hook.layer, inputs)), delta.dtype)
        if by_position:
            picked = ops.reshape(_unit(index, p * g * f, delta), (-1, p, g, f))
            along = ops.broadcast_to(picked[:, None], (index.shape[0], *delta.shape))
            return _at_positions(rows, autodiff.each(pullback, along)[0], picked)
        picked = ops.reshape(_unit(index, i * g * f, delta), (-1, i, g, f))
        along = ops.einsum("npgi,kigf->knpgf", rows, picked)
        return ops.sum(along * autodiff.each(pullback, along)[0], axis=(1, 2, 3, 4))

    return step


def _at_positions(rows: Tensor, products: Tensor, picked: Tensor) -> Tensor:
    """Add up ``a[n, p, i] a[n, q, i] H[n, q, f]`` over n and q, at one (p, g, f) for each product.

    Parameters
    ----------
    rows
        Shape ``(n, p, g, i)``.
    products
        Columns of the Hessian, shape ``(k, n, p, g, f)``.
    picked
        Which column each is, as unit tensors, shape ``(k, p, g, f)``.

    Returns
    -------
    tensor of shape ``(k, i)``
    """
    channel = ops.sum(picked, axis=1)
    within = ops.einsum("knqgf,kgf->knqg", products, channel)
    there = ops.einsum("npgi,kpg->kngi", rows, ops.sum(picked, axis=3))
    return ops.sum(there * ops.einsum("nqgi,knqg->kngi", rows, within), axis=(1, 2))


def _in_weights(problem: Problem, samples: Samples, key: str) -> np.ndarray:
    shape = tuple(problem.kernels[key].shape)
    numbers = problem.numbers_per_sample(2 * _PRODUCTS_IN_WEIGHTS)
    step = problem.step(("exact", key), partial(_make_step_in_weights, problem, key))
    count = math.prod(shape)
    sums = _accumulate(problem, samples, step, count, numbers, _PRODUCTS_IN_WEIGHTS)
    return sums.reshape(shape)


def _make_step_in_weights(problem: Problem, key: str) -> _Step:
    shape = tuple(problem.kernels[key].shape)

    def step(values: list[Tensor], batch: Batch, index: Tensor) -> Tensor:
        gradient, pullback = gradient_in_weights(problem, key, values, batch)
        along = ops.reshape(_unit(index, math.prod(shape), gradient), (-1, *shape))
        products = problem.autodiff.each(pullback, along)[0]
        return ops.sum(ops.reshape(products * along, (index.shape[0], -1)), axis=1)

    return step


def gradient_in_weights(
    problem: Problem, key: str, values: list[Tensor], batch: Batch
) -> tuple[Tensor, Pullback]:
    """Return a batch's gradient in a kernel, and the function that multiplies by its Hessian."""
    autodiff = problem.autodiff

    def gradient(kernel: list[Tensor]) -> tuple[Tensor, None]:
        def total(kernel: list[Tensor]) -> tuple[Tensor, None]:
            return problem.total(problem.replaced(values, {key: kernel[0]}), batch), None

        value, _, pullback = autodiff.vjp(total, kernel, twice=True)
        return pullback(ops.ones_like(value))[0], None

    kernel = values[problem.places[id(problem.kernels[key])]]
    value, _, pullback = autodiff.vjp(gradient, [kernel])
    return value, pullback


def _accumulate(
    problem: Problem, samples: Samples, step: _Step, count: int, numbers: int, products: int
) -> np.ndarray:
    """Add up a step's results over all batches, ``products`` at a time; shape ``(count, …)``."""
    products = min(products, count)
    values = problem.values()
    sums: np.ndarray | None = None
    for batch in problem.batches(samples, numbers):
        found = []
        for start in range(0, count, products):
            index = np.minimum(np.arange(start, start + products, dtype=np.int32), count - 1)
            part = ops.convert_to_numpy(step(values, batch, index))
            found.append(part[: count - start].astype(np.float64))
        whole = np.concatenate(found)
        sums = whole if sums is None else sums + whole
    assert sums is not None  # there is at least one sample
    return sums


def _unit(index: Tensor, size: int, like: Tensor) -> Tensor:
    """Return unit vectors, shape ``(K, size)``."""
    equal = ops.equal(ops.arange(size)[None], ops.cast(index, "int32")[:, None])
    return ops.cast(equal, like.dtype)
