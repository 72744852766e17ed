"""Differentiation on JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from fabricfit.curvature.autodiff import Pullback, Tensor

__all__ = ["compiled", "each", "vjp"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile by XLA, once for each set of shapes."""
    return jax.jit(function)


def vjp(
    function: Callable[[list[Tensor]], tuple[Tensor, Any]],
    primals: Sequence[Tensor],
    *,
    twice: bool = False,
) -> tuple[Tensor, Any, Pullback]:
    """See :meth:`~fabricfit.curvature.autodiff.Autodiff.vjp`.

    Here every pullback can be differentiated, ``twice`` or not.
    """
    value, pullback, extra = jax.vjp(function, list(primals), has_aux=True)
    return value, extra, lambda cotangent: pullback(cotangent)[0]


def each(pullback: Pullback, cotangents: Tensor) -> list[Tensor]:
    """Fold the cotangents into the batch axis of every operation."""
    return jax.vmap(pullback)(cotangents)
