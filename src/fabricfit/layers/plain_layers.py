"""What stands for a layer where number formats are trained: layers of Keras that round nothing themselves.

A layer that quantizes its own weights is stood for by the plain one with its weights as floats, a layer of
two products in one by a layer for each, so that what passes between them can be rounded, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabricfit.layers.kernels import Kernel
from fabricfit.layers.units import to_array

__all__ = ["QUANTIZING", "PlainForm", "PlainLayer", "make_alike", "to_arrays"]

_LEFT_OUT = ("lora_alpha", "lora_rank", "quantization_config")
"""Options that are part of the weights, or that say how Keras quantizes."""

QUANTIZING = ("hgq", "qkeras")
"""Packages of layers that round numbers, and of constraints that keep weights within what is held."""


@dataclass(frozen=True, eq=False)
class PlainLayer:
    """A layer of Keras that is new and not built, and the weights that it gets.

    Parameters
    ----------
    layer
        The layer.
    weights
        Its weights, in Keras' order; none where it has none.
    rectifies
        Whether it is a rectifier that stands for a format without a sign: it changes nothing where no numbers
        are negative.
    """

    layer: Any
    weights: list[np.ndarray] = field(default_factory=list)
    rectifies: bool = False


class PlainForm:
    """What a layer is without quantizers, and with a layer for each of its products."""

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the weights that are cut into groups."""
        return ()

    def quantizes(self, layer: Any) -> bool:
        """Return whether the layer itself rounds weights or tensors to number formats of its own."""
        kernels = self.kernels(layer)
        return any(kernel.quantizer is not None or kernel.bits for kernel in kernels)

    def plain_layers(self, layer: Any) -> tuple[PlainLayer, ...] | None:
        """Return layers of Keras that compute the same one behind the other, but for what is rounded.

        None where the layer stands for itself. A name of a new layer begins with that of this one.

        Raises
        ------
        InvalidInputError
            None compute the same; says why, as a sentence that goes on from the layer's name.
        """
        return None


def make_alike(layer: Any, kind: Any, **changes: Any) -> Any:
    """Return a new layer of a class of Keras with the options of another one, initializers excepted.

    Parameters
    ----------
    layer
        The layer, which has the options as attributes, or its cell.
    kind
        The class.
    changes
        Options that are other ones; among them the name.
    """
    owners = [each for each in (layer, getattr(layer, "cell", None)) if each is not None]
    options: dict[str, Any] = {"name": layer.name, "trainable": layer.trainable}
    options["dtype"] = layer.dtype_policy
    if hasattr(layer, "partial_output_shape"):
        options["output_shape"] = layer.partial_output_shape
    for name in inspect.signature(kind.__init__).parameters:
        owner = next((each for each in owners if hasattr(each, name)), None)
        if owner is not None and not name.endswith("_initializer") and name not in _LEFT_OUT:
            options.setdefault(name, _without_bounds(name, getattr(owner, name)))
    return kind(**{**options, **changes})


def to_arrays(variables: Iterable[Any]) -> list[np.ndarray]:
    """Return variables as arrays of their own types."""
    return [to_array(variable) for variable in variables]


def _without_bounds(name: str, value: Any) -> Any:
    """Return an option without a constraint that is there for a quantizer."""
    foreign = type(value).__module__.partition(".")[0] in QUANTIZING
    return None if foreign and name.endswith("_constraint") else value
