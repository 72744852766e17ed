"""The door for models: read, with weights that are numbers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.network.reader import Network, read

__all__ = ["open_network", "refuse_not_finite"]

_BOUNDLESS = ("hgq", "pquant", "qkeras")
"""Packages whose layers have variables for which infinity is a number: that of a rate, for example."""


def open_network(model: Any, argument: str = "model") -> Network:
    """Return the network of a model, which is refused if it is none, or if its weights are not finite.

    Every function that is given a model reads it through here, and hands on what comes out.

    Parameters
    ----------
    model
        A built model, or what was read of one and is as it was.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidTypeError
        It is no Keras model.
    InvalidInputError
        It cannot be read, or a weight is NaN or infinite.
    """
    if isinstance(model, Network):
        return model
    network = read(model, argument)
    refuse_not_finite(network, argument)
    return network


def refuse_not_finite(network: Network, argument: str = "model") -> None:
    """Refuse a network with a weight that is NaN or infinite.

    Raises
    ------
    InvalidInputError
        There is one; the message names its layer.
    """
    for name, layer in network.layers.items():
        package = type(layer).__module__.partition(".")[0]
        for variable in layer.weights:
            # A tensor, since NumPy warns of what TensorFlow's variables make of it.
            tensor = keras.ops.stop_gradient(variable.value)
            values = np.asarray(keras.ops.convert_to_numpy(tensor))
            if values.dtype.kind in "biuSUO":
                continue
            values = values.astype(np.float32, copy=False)  # bfloat16 has no functions of its own
            wrong = np.isnan(values) if package in _BOUNDLESS else ~np.isfinite(values)
            if wrong.any():
                raise InvalidInputError(
                    f"{argument} must have finite weights. Received: {int(wrong.sum()):,} of "
                    f"{values.size:,} values of {variable.name!r} in layer {name!r} are NaN or infinite. "
                    "Train it anew, or load weights from before its training diverged."
                )
