"""Layers of no known family that multiply by matrices: counted, though their weights are not optimized.

Each matrix is described as if it were a dense layer of its own, so that what the model uses is not said to
be less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.description.layout import standard_layout
from fabricfit.hls4ml.config import read_opened
from fabricfit.layers import family_of_type
from fabricfit.network.reader import Network

__all__ = ["describe_matrices"]

_NOTE = "layers of no known family are counted as a dense layer for each of their matrices"


def describe_matrices(
    network: Network, attributes: Mapping[str, LayerAttributes], config: Mapping[str, Any]
) -> None:
    """Describe the matrices of every layer without a kernel of its own, in the layer's attributes.

    Parameters
    ----------
    network
        What was read of the model.
    attributes
        Layer -> attributes, read from it; ``matrices`` of such layers is set.
    config
        hls4ml's configuration.
    """
    for name, layer in network.layers.items():
        counted = name in network.kernels or attributes[name].kernels
        if counted or not _multiplies(layer):
            continue
        for call in attributes[name].calls:
            found = []
            for variable in layer.weights:
                if len(variable.shape) > 1 and "bias" not in variable.name:
                    array: np.ndarray = np.asarray(keras.ops.convert_to_numpy(variable))
                    label = f"{call.name}/{variable.path.partition('/')[2] or variable.name}"
                    matrix = standard_layout(array.shape).matrix(array)
                    found.append((_describe_as_dense(label, call, matrix, config), matrix))
            call.matrices = tuple(found)


def _multiplies(layer: Any) -> bool:
    """Tell whether a layer may multiply by its weights: not if its type derives from one that does not."""
    known = (family_of_type(kind) for kind in type(layer).__mro__)
    return all(family is None or family.multiplies for family in known)


def _describe_as_dense(
    label: str, layer: LayerAttributes, matrix: np.ndarray, config: Mapping[str, Any]
) -> LayerAttributes:
    n_in, n_out = matrix.shape
    described = replace(
        layer,
        weight_shape=(n_in, n_out),
        input_shape=(n_in,),
        output_shape=(n_out,),
        args={},
        elementwise=ElementwiseWork.FREE,
        input_layers=(),
        further_calls=(),
        note=_NOTE,
    )
    described.hls4ml = read_opened(config, described)
    return replace(described, name=label)
