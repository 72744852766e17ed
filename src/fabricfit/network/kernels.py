"""Kernels of a model that may have been read already."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.layers import Kernel
from fabricfit.network.reader import Network, as_network, kernel_variables

Arrays = dict[str, np.ndarray]
kernels_of = kernel_variables


def named_kernels(model: keras.Model | Network) -> dict[str, Kernel]:
    """Return the kernels of known layer families."""
    return as_network(model).grouped_kernels


def kernel_arrays(model: keras.Model | Network) -> dict[str, np.ndarray]:
    """Return the kernels as arrays."""
    return as_network(model).kernel_arrays()


def kernel_views(model: keras.Model | Network) -> dict[str, np.ndarray]:
    """Return the kernels as arrays that are not copied."""
    return as_network(model).kernel_views()


def counted_kernels(
    model: keras.Model | Network, attributes: Mapping[str, LayerAttributes]
) -> dict[str, np.ndarray]:
    """Return the kernels as arrays, and note their bits."""
    return as_network(model).counted_kernels(attributes)


def model_kernels(
    model: keras.Model | Network, attributes: Mapping[str, LayerAttributes]
) -> dict[str, np.ndarray]:
    """Return the kernels of optimizable layers."""
    return as_network(model).optimizable_kernels(attributes)


def _optimizable(kernels: Arrays, attributes: Mapping[str, LayerAttributes]) -> Arrays:
    return {
        name: kernel
        for name, kernel in kernels.items()
        if name in attributes and attributes[name].optimizable
    }
