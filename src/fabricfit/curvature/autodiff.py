"""The interface to a backend's automatic differentiation, and its selection."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import keras

from fabricfit.errors import unknown_name

__all__ = ["Autodiff", "Pullback", "Tensor", "load_autodiff"]

Tensor = Any
"""A tensor of the active backend."""

Pullback = Callable[[Tensor], list[Tensor]]
"""Cotangent of a function's value -> cotangents of its arguments (a vector-Jacobian product)."""

_BACKENDS = ("tensorflow", "jax", "torch")


class Autodiff(Protocol):
    """One backend's way to differentiate. Each adapter is a module with these three functions."""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is traced once for each set of argument shapes.

        All that varies between calls must be an argument: what a function merely refers to is
        frozen into its graph.
        """
        ...  # pragma: no cover

    def vjp(
        self,
        function: Callable[[list[Tensor]], tuple[Tensor, Any]],
        primals: Sequence[Tensor],
        *,
        twice: bool = False,
    ) -> tuple[Tensor, Any, Pullback]:
        """Evaluate ``function(primals) -> (value, extra)`` and prepare to differentiate its value.

        Parameters
        ----------
        function
            From a list of tensors; ``extra`` is returned unchanged.
        primals
            Where to evaluate.
        twice
            Whether what the pullback returns will itself be differentiated.

        Returns
        -------
        value, extra, pullback
        """
        ...  # pragma: no cover

    def each(self, pullback: Pullback, cotangents: Tensor) -> list[Tensor]:
        """Apply a pullback to every cotangent along the first axis, and stack the results."""
        ...  # pragma: no cover


def load_autodiff() -> Autodiff:
    """Return the adapter of the backend that Keras runs on.

    Raises
    ------
    InvalidInputError
        Keras runs on a backend without automatic differentiation (NumPy, OpenVINO).
    """
    backend = keras.backend.backend()
    if backend not in _BACKENDS:
        raise unknown_name("the Keras backend", backend, _BACKENDS)
    return cast(Autodiff, importlib.import_module(f"fabricfit.curvature._{backend}"))
