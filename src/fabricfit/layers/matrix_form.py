"""Layers as matrix products, so that one sample's weight gradients need not be asked of a backend.

A linear layer's pre-activation is ``s[n, p, g, f] = sum_i a[n, p, g, i] * W[i, g, f]``, with
samples *n*, positions *p* (pixels, time steps; one for a plain Dense layer), groups of channels
*g*, inputs *i* and outputs *f*. Its weight gradient for a sample is
``sum_p a[p, g, i] * delta[p, g, f]``. A :class:`MatrixForm` says how one family of layers fits
this form; the family returns it as its ``matrix_form``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from keras import ops

from fabricfit.description.layout import Layout, standard_layout

__all__ = ["LastAxisForm", "MatrixForm", "Tensor"]

Tensor = Any
"""A tensor of the active backend."""


class MatrixForm(ABC):
    """A layer read as a matrix product; the layer's last act is its ``activation``."""

    @abstractmethod
    def rows(self, layer: Any, inputs: Tensor) -> Tensor:
        """Gather the matrix ``a`` of shape ``(n, p, g, i)`` from a layer's inputs."""

    @abstractmethod
    def restore(self, layer: Any, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Turn ``(n, p, g, f)`` into the layer's own output of this shape."""

    def layout(self, layer: Any) -> Layout:
        """Return which axes of the layer's kernel are *i* (the rows), and *g* and then *f* (the columns)."""
        return standard_layout(tuple(layer.kernel.shape))

    def kernel(self, layer: Any, matrix: np.ndarray) -> np.ndarray:
        """Turn ``(i, g, f)`` into the shape of the layer's kernel."""
        layout = self.layout(layer)
        return layout.kernel(matrix.reshape(layout.n_rows, -1), tuple(layer.kernel.shape))


class LastAxisForm(MatrixForm):
    """A product over the last axis of inputs of any rank, every other one but the first a position.

    Parameters
    ----------
    layout
        Which axis of the kernel is summed over and which makes results; ``(n_in, n_out)`` without.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self._layout = layout

    def layout(self, layer: Any) -> Layout:
        """See :meth:`MatrixForm.layout`."""
        return self._layout or super().layout(layer)

    def rows(self, layer: Any, inputs: Tensor) -> Tensor:
        """See :meth:`MatrixForm.rows`."""
        size = inputs.shape[-1]
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:-1]), 1, size))

    def restore(self, layer: Any, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :meth:`MatrixForm.restore`."""
        return ops.reshape(columns, shape)
