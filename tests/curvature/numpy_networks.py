"""The networks of these tests again, in NumPy and double precision, and finite differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

Kernels = dict[str, np.ndarray]
Loss = Callable[[Kernels], float]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(z))


def cross_entropy(z: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_softmax(z)[np.arange(len(z)), labels].mean())


def conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Valid convolution of (n, h, w, c) by (kh, kw, c, f)."""
    kh, kw, _, filters = kernel.shape
    height = (x.shape[1] - kh) // stride + 1
    width = (x.shape[2] - kw) // stride + 1
    out = np.empty((len(x), height, width, filters))
    for row, column in itertools.product(range(height), range(width)):
        top, left = row * stride, column * stride
        patch = x[:, top : top + kh, left : left + kw, :]
        out[:, row, column] = np.tensordot(patch, kernel, 3)
    return out


def max_pool(x: np.ndarray) -> np.ndarray:
    n, height, width, channels = x.shape
    cut = x[:, : height // 2 * 2, : width // 2 * 2]
    return cut.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def _shifted(loss: Loss, kernels: Kernels, key: str, index: tuple[int, ...], by: float) -> float:
    moved = {name: kernel.copy() for name, kernel in kernels.items()}
    moved[key][index] += by
    return loss(moved)


def gradient(loss: Loss, kernels: Kernels, step: float = 1e-5) -> Kernels:
    """First derivatives by central differences."""
    return {
        key: np.array(
            [
                _shifted(loss, kernels, key, index, step)
                - _shifted(loss, kernels, key, index, -step)
                for index in np.ndindex(kernel.shape)
            ]
        ).reshape(kernel.shape)
        / (2 * step)
        for key, kernel in kernels.items()
    }


def second_derivatives(loss: Loss, kernels: Kernels, step: float = 1e-4) -> Kernels:
    """Second derivatives, weight by weight, by central differences."""
    centre = loss(kernels)
    return {
        key: np.array(
            [
                _shifted(loss, kernels, key, index, step)
                - 2 * centre
                + _shifted(loss, kernels, key, index, -step)
                for index in np.ndindex(kernel.shape)
            ]
        ).reshape(kernel.shape)
        / step**2
        for key, kernel in kernels.items()
    }
