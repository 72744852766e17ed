"""Layers as matrix products, so that one sample's weight gradients need not be asked of a backend.

A linear layer's pre-activation is ``s[n, p, g, f] = sum_i a[n, p, g, i] * W[i, g, f]``, with
samples *n*, positions *p* (pixels, time steps; one for a plain Dense layer), groups of channels
*g*, inputs *i* and outputs *f*. Its weight gradient for a sample is
``sum_p a[p, g, i] * delta[p, g, f]``. A :class:`MatrixForm` knows how one family of layers fits
this form; a further family is one more class in :data:`MATRIX_FORMS`.
"""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, Protocol

import keras
import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor

__all__ = ["MATRIX_FORMS", "ConvForm", "DenseForm", "EinsumForm", "MatrixForm", "matrix_form"]


class MatrixForm(Protocol):
    """How a layer is read as a matrix product."""

    handles: ClassVar[tuple[type, ...]]

    def fits(self, layer: keras.Layer) -> bool:
        """Whether this very layer has the form."""
        ...  # pragma: no cover

    def rows(self, layer: keras.Layer, inputs: Tensor) -> Tensor:
        """Gather the matrix ``a`` of shape ``(n, p, g, i)`` from a layer's inputs."""
        ...  # pragma: no cover

    def restore(self, layer: keras.Layer, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Turn ``(n, p, g, f)`` into the layer's own output of this shape."""
        ...  # pragma: no cover

    def kernel(self, layer: keras.Layer, matrix: np.ndarray) -> np.ndarray:
        """Turn ``(i, g, f)`` into the shape of the layer's kernel."""
        ...  # pragma: no cover


class DenseForm:
    """Dense, on inputs of any rank: every axis but the first and last is a position."""

    handles: ClassVar[tuple[type, ...]] = (keras.layers.Dense,)

    def fits(self, layer: keras.Layer) -> bool:
        """Every Dense layer has the form."""
        return True

    def rows(self, layer: keras.Layer, inputs: Tensor) -> Tensor:
        """See :meth:`MatrixForm.rows`."""
        size = inputs.shape[-1]
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:-1]), 1, size))

    def restore(self, layer: keras.Layer, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :meth:`MatrixForm.restore`."""
        return ops.reshape(columns, shape)

    def kernel(self, layer: keras.Layer, matrix: np.ndarray) -> np.ndarray:
        """See :meth:`MatrixForm.kernel`."""
        return matrix.reshape(layer.kernel.shape)


class ConvForm:
    """Convolutions of any rank, plain, grouped or depthwise; a row is a patch of the input."""

    handles: ClassVar[tuple[type, ...]] = (
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.DepthwiseConv1D,
        keras.layers.DepthwiseConv2D,
    )

    def fits(self, layer: keras.Layer) -> bool:
        """Every such layer has the form."""
        return True

    def rows(self, layer: keras.Layer, inputs: Tensor) -> Tensor:
        """See :meth:`MatrixForm.rows`; the order of a row is that of the kernel's axes."""
        if layer.data_format == "channels_first":
            inputs = ops.moveaxis(inputs, 1, -1)
        samples, *lengths, channels = inputs.shape
        windows = [
            _Window(*axis, layer.padding)
            for axis in zip(
                lengths, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
            )
        ]
        padded = ops.pad(inputs, [(0, 0), *(window.padding for window in windows), (0, 0)])
        shifted = [
            padded[(slice(None), *slices, slice(None))]
            for slices in itertools.product(*(window.slices for window in windows))
        ]
        groups = channels // layer.kernel.shape[-2] if _is_plain(layer) else channels
        stacked = ops.stack(shifted, axis=-2)
        positions = math.prod(stacked.shape[1:-2])
        cut = ops.reshape(stacked, (samples, positions, len(shifted), groups, channels // groups))
        turned = ops.transpose(cut, (0, 1, 3, 2, 4))
        return ops.reshape(turned, (samples, positions, groups, -1))

    def restore(self, layer: keras.Layer, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :meth:`MatrixForm.restore`."""
        if layer.data_format == "channels_last":
            return ops.reshape(columns, shape)
        return ops.moveaxis(ops.reshape(columns, (shape[0], *shape[2:], shape[1])), -1, 1)

    def kernel(self, layer: keras.Layer, matrix: np.ndarray) -> np.ndarray:
        """See :meth:`MatrixForm.kernel`."""
        return matrix.reshape(layer.kernel.shape)


class EinsumForm:
    """EinsumDense, where every axis but the first is kept or contracted with the kernel."""

    handles: ClassVar[tuple[type, ...]] = (keras.layers.EinsumDense,)

    def fits(self, layer: keras.Layer) -> bool:
        """Whether the equation has the form: no ellipsis, no axis that is summed on its own."""
        if "." in layer.equation:
            return False
        left, kernel, right = _labels(layer)
        kept = set(left) <= set(kernel) | set(right) and set(kernel) <= set(left) | set(right)
        return kept and left[0] == right[0] and left[0] not in kernel

    def rows(self, layer: keras.Layer, inputs: Tensor) -> Tensor:
        """See :meth:`MatrixForm.rows`."""
        left, _, _ = _labels(layer)
        positions, groups, contracted, _ = _roles(layer)
        sizes = dict(zip(left, inputs.shape, strict=True))
        turned = ops.transpose(
            inputs, [left.index(c) for c in left[0] + positions + groups + contracted]
        )
        shape = [math.prod(sizes[c] for c in part) for part in (positions, groups, contracted)]
        return ops.reshape(turned, (inputs.shape[0], *shape))

    def restore(self, layer: keras.Layer, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :meth:`MatrixForm.restore`."""
        _, _, right = _labels(layer)
        positions, groups, _, outputs = _roles(layer)
        sizes = dict(zip(right, shape, strict=True))
        order = right[0] + positions + groups + outputs
        spread = ops.reshape(columns, [sizes[c] for c in order])
        return ops.transpose(spread, [order.index(c) for c in right])

    def kernel(self, layer: keras.Layer, matrix: np.ndarray) -> np.ndarray:
        """See :meth:`MatrixForm.kernel`."""
        _, kernel, _ = _labels(layer)
        _, groups, contracted, outputs = _roles(layer)
        sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
        order = contracted + groups + outputs
        return matrix.reshape([sizes[c] for c in order]).transpose([order.index(c) for c in kernel])


MATRIX_FORMS: tuple[MatrixForm, ...] = (DenseForm(), ConvForm(), EinsumForm())


def matrix_form(layer: keras.Layer) -> MatrixForm | None:
    """Return the form of a layer, by its exact type: a subclass may compute anything."""
    for form in MATRIX_FORMS:
        if type(layer) in form.handles and form.fits(layer):
            return form
    return None


class _Window:
    """What a kernel sees along one axis: the padding, and a strided slice for each of its taps."""

    def __init__(self, length: int, size: int, stride: int, dilation: int, padding: str) -> None:
        reach = (size - 1) * dilation
        before = after = 0
        if padding == "causal":
            before = reach
        elif padding == "same":
            total = max((-(-length // stride) - 1) * stride + reach + 1 - length, 0)
            before, after = total // 2, total - total // 2
        count = (length + before + after - reach - 1) // stride + 1
        self.padding = (before, after)
        self.slices = [
            slice(tap * dilation, tap * dilation + (count - 1) * stride + 1, stride)
            for tap in range(size)
        ]


def _is_plain(layer: keras.Layer) -> bool:
    return not isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)


def _labels(layer: keras.Layer) -> tuple[str, str, str]:
    """Return the labels of an EinsumDense layer's input, kernel and output."""
    operands, right = layer.equation.replace(" ", "").split("->")
    left, kernel = operands.split(",")
    return left, kernel, right


def _roles(layer: keras.Layer) -> tuple[str, str, str, str]:
    """Sort an EinsumDense layer's labels into positions, groups, contracted inputs and outputs."""
    left, kernel, right = _labels(layer)
    positions = "".join(c for c in left[1:] if c not in kernel)
    groups = "".join(c for c in kernel if c in left and c in right)
    contracted = "".join(c for c in kernel if c in left and c not in right)
    outputs = "".join(c for c in kernel if c not in left)
    return positions, groups, contracted, outputs
