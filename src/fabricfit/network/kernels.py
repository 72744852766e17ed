"""The kernels of a Keras model, by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.layers import Kernel, find_handler
from fabricfit.network.walk import named_layers

__all__ = [
    "Arrays",
    "counted_kernels",
    "kernel_arrays",
    "kernel_views",
    "kernels_of",
    "model_kernels",
    "named_kernels",
    "note_bit_operations",
]


Arrays = dict[str, np.ndarray]


def model_kernels(
    model: keras.Model, attributes: Mapping[str, LayerAttributes]
) -> dict[str, np.ndarray]:
    """Return the kernels of all optimizable layers as NumPy arrays, by layer."""
    return _optimizable(counted_kernels(model, attributes), attributes)


def _optimizable(kernels: Arrays, attributes: Mapping[str, LayerAttributes]) -> Arrays:
    return {
        name: kernel
        for name, kernel in kernels.items()
        if name in attributes and attributes[name].optimizable
    }


def named_kernels(model: keras.Model) -> dict[str, Kernel]:
    """Return what is grouped of all layers of registered families.

    Returns
    -------
    dict
        The layer's name, or for one of several kernels ``'<layer>/<kernel>'`` -> kernel.
    """
    return dict(_walk_kernels(model, known_alone=True))


def kernels_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the kernels of all layers that have one, by the keys of :func:`named_kernels`.

    A layer of no registered family that has a ``kernel`` variable gives that.
    """
    return {name: kernel.variable for name, kernel in _walk_kernels(model)}


def kernel_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the kernels of all layers that have one as NumPy arrays, as the layers multiply by them."""
    return {name: kernel.used() for name, kernel in _walk_kernels(model)}


def counted_kernels(
    model: keras.Model, attributes: Mapping[str, LayerAttributes]
) -> dict[str, np.ndarray]:
    """Return :func:`kernel_arrays`, and note in the attributes what the model says of its bits now.

    Bit-widths of their own are trained with the weights, and an objective may count them.
    """
    for name, kernel in named_kernels(model).items():
        if name in attributes:
            note_bit_operations(attributes[name], kernel)
    return kernel_arrays(model)


def kernel_views(model: keras.Model) -> dict[str, np.ndarray]:
    """Return kernels as :func:`kernel_arrays` does, but copied only where the backend cannot share them.

    They are for reading, before the model is changed.
    """
    return {
        name: _view(kernel.variable) if kernel.quantizer is None else kernel.used()
        for name, kernel in _walk_kernels(model)
    }


def _walk_kernels(model: keras.Model, *, known_alone: bool = False) -> Iterator[tuple[str, Kernel]]:
    for name, layer in named_layers(model).items():
        handler = find_handler(layer)
        if handler is not None:
            for kernel in handler.kernels(layer):
                yield f"{name}/{kernel.part}" if kernel.part else name, kernel
        elif not known_alone and isinstance(getattr(layer, "kernel", None), keras.Variable):
            yield name, Kernel(layer.kernel, layer)


def _view(kernel: Any) -> np.ndarray:
    try:
        return np.asarray(keras.ops.stop_gradient(kernel.value))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return np.asarray(keras.ops.convert_to_numpy(kernel))


def note_bit_operations(layer: LayerAttributes, kernel: Kernel) -> None:
    """Note in a kernel's attributes the bit operations at its bit widths of the moment, if it counts them."""
    if kernel.bit_operations is not None:
        layer.bit_operations, layer.other_bit_operations = kernel.bit_operations()
