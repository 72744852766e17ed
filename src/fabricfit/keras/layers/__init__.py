"""Layer families: one small file each, registered by type."""

from fabricfit.keras.layers import conv, dense, qkeras
from fabricfit.keras.layers.base import (
    LayerHandler,
    find_handler,
    handlers,
    reason_to_skip,
    register_layer,
)

__all__ = [
    "LayerHandler",
    "conv",
    "dense",
    "find_handler",
    "handlers",
    "qkeras",
    "reason_to_skip",
    "register_layer",
]
