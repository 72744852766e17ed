"""First derivatives of the mean loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.curvature.loss_function import Problem
from fabricfit.curvature.samples import Batch, Samples

__all__ = ["kernel_gradients"]


def kernel_gradients(problem: Problem, samples: Samples) -> dict[str, np.ndarray]:
    """Return the derivatives of the loss in every kernel, summed over samples."""
    keys = list(problem.kernels)
    if not keys:
        return {}
    compiled = problem.step("gradients", partial(_make_step, problem))
    values = problem.values()
    sums = {key: np.zeros(problem.kernels[key].shape) for key in keys}
    for batch in problem.batches(samples, problem.numbers_per_sample()):
        for key, gradient in zip(keys, compiled(values, batch), strict=True):
            sums[key] += ops.convert_to_numpy(gradient)
    return sums


def _make_step(problem: Problem) -> Callable[..., list[Tensor]]:
    keys, autodiff = list(problem.kernels), problem.autodiff

    def step(values: list[Tensor], batch: Batch) -> list[Tensor]:
        def total(kernels: list[Tensor]) -> tuple[Tensor, None]:
            new = problem.replaced(values, dict(zip(keys, kernels, strict=True)))
            return problem.total(new, batch), None

        present = [values[problem.places[id(problem.kernels[key])]] for key in keys]
        value, _, pullback = autodiff.vjp(total, present)
        return pullback(ops.ones_like(value))

    return step
