"""Differentiation on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch

from fabricfit.curvature.autodiff import Pullback, Tensor

__all__ = ["compiled", "each", "vjp"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the function take arrays; it runs eagerly (compiling small models does not pay)."""

    def eager(*arguments: Any) -> Any:
        return function(*keras.tree.map_structure(_tensor, arguments))

    return eager


def vjp(
    function: Callable[[list[Tensor]], tuple[Tensor, Any]],
    primals: Sequence[Tensor],
    *,
    twice: bool = False,
) -> tuple[Tensor, Any, Pullback]:
    """See :meth:`~fabricfit.curvature.autodiff.Autodiff.vjp`."""
    inputs = [
        primal if primal.requires_grad else primal.detach().requires_grad_() for primal in primals
    ]
    with torch.enable_grad():
        value, extra = function(inputs)

    def pullback(cotangent: Tensor) -> list[Tensor]:
        if not value.requires_grad:
            return [torch.zeros_like(tensor) for tensor in inputs]
        found = torch.autograd.grad(
            value,
            inputs,
            grad_outputs=cotangent,
            retain_graph=True,
            create_graph=twice,
            allow_unused=True,
        )
        return [
            torch.zeros_like(tensor) if gradient is None else gradient
            for tensor, gradient in zip(inputs, found, strict=True)
        ]

    return value, extra, pullback


def each(pullback: Pullback, cotangents: Tensor) -> list[Tensor]:
    """Run one backward pass after the other."""
    results = [pullback(cotangent) for cotangent in cotangents]
    return [torch.stack(column) for column in zip(*results, strict=True)]


def _tensor(value: Any) -> Any:
    return keras.ops.convert_to_tensor(value) if isinstance(value, np.ndarray) else value
