"""What the optimizer must know of a layer type, and the registry of all that it knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np

from fabricfit.precision import FixedPrecision

__all__ = ["LayerHandler", "find_handler", "handlers", "reason_to_skip", "register_layer"]


class LayerHandler(ABC):
    """One family of layers whose kernel can be pruned and shared.

    Subclass it for a layer type of your own and hand an instance to :func:`register_layer`.
    """

    @abstractmethod
    def handles(self, layer_type: type) -> bool:
        """Tell whether this handler is for layers of exactly this type.

        A subclass is another type: what it adds (a quantizer, another order of axes) may change what
        a pruned weight means.
        """

    def kernel(self, layer: keras.layers.Layer) -> keras.Variable:
        """Return the weights that are grouped, output axis last."""
        return layer.kernel

    def bias(self, layer: keras.layers.Layer) -> keras.Variable | None:
        """Return the bias, one number for each output unit, if there is one."""
        return getattr(layer, "bias", None)

    def refusal(self, layer: keras.layers.Layer) -> str:
        """Return why this very layer cannot be optimized, or ``''``."""
        return ""

    def kernel_precision(self, layer: keras.layers.Layer) -> FixedPrecision | None:
        """Return the number format that the layer itself gives its kernel, if it does."""
        return None

    @property
    @abstractmethod
    def regularizer(self) -> Any:
        """The regularizer class for the kernel."""


_HANDLERS: list[LayerHandler] = []


def register_layer(handler: LayerHandler) -> LayerHandler:
    """Make a layer type known; a later handler is asked before the earlier ones."""
    _HANDLERS.insert(0, handler)
    return handler


def handlers() -> tuple[LayerHandler, ...]:
    """Return all registered handlers, the first one asked first."""
    return tuple(_HANDLERS)


def find_handler(layer: keras.layers.Layer) -> LayerHandler | None:
    """Return the handler of a layer's type, if there is one."""
    return next((found for found in _HANDLERS if found.handles(type(layer))), None)


def reason_to_skip(layer: keras.layers.Layer) -> str:
    """Return why a layer with weights cannot be optimized, or ``''`` if it can.

    Every reason names what stands in the way, for the report that the user reads.
    """
    if not layer.weights:
        return "it has no weights"
    if not layer.trainable:
        return "it is frozen (trainable=False)"
    handler = find_handler(layer)
    if handler is None:
        origin = type(layer).__module__.split(".")[0]
        where = "" if origin == "keras" else f" of {origin!r}"
        return (
            f"{type(layer).__name__}{where} is not a supported layer type; "
            "register_layer() can add it"
        )
    reason = handler.refusal(layer)
    if reason:
        return reason
    kernel = np.asarray(keras.ops.convert_to_numpy(handler.kernel(layer)))
    if not np.isfinite(kernel).all():
        return "its kernel holds NaN or infinite weights"
    return ""
