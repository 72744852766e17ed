"""First derivatives of the mean loss."""

from __future__ import annotations

import numpy as np
from keras import ops

from fabricfit.keras.curvature.autodiff import Tensor
from fabricfit.keras.curvature.problem import Problem
from fabricfit.keras.curvature.samples import Batch

__all__ = ["kernel_gradients"]


def kernel_gradients(problem: Problem) -> dict[str, np.ndarray]:
    """Return ∂L/∂w of the mean loss L, one array for each kernel and of its shape."""
    keys = list(problem.kernels)
    autodiff = problem.autodiff

    def step(values: list[Tensor], batch: Batch) -> list[Tensor]:
        def total(kernels: list[Tensor]) -> tuple[Tensor, None]:
            new = problem.replaced(values, dict(zip(keys, kernels, strict=True)))
            return problem.total(new, batch), None

        present = [values[problem.places[id(problem.kernels[key])]] for key in keys]
        value, _, pullback = autodiff.vjp(total, present)
        return pullback(ops.ones_like(value))

    compiled = autodiff.compiled(step)
    sums = {key: np.zeros(problem.kernels[key].shape) for key in keys}
    for batch in problem.batches(problem.numbers_per_sample()) if keys else ():
        for key, gradient in zip(keys, compiled(problem.values, batch), strict=True):
            sums[key] += ops.convert_to_numpy(gradient)
    return problem.finished(sums)
