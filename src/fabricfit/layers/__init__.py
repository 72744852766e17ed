"""Layer families: one small file each, registered by type."""

from fabricfit.layers import (
    attention,
    conv,
    dense,
    depthwise,
    einsum,
    embedding,
    hgq,
    qkeras,
    recurrent,
    wrappers,
)
from fabricfit.layers.base import (
    Kernel,
    LayerHandler,
    find_handler,
    handlers,
    reason_to_skip,
    register_layer,
    shape_at,
)

__all__ = [
    "Kernel",
    "LayerHandler",
    "attention",
    "conv",
    "dense",
    "depthwise",
    "einsum",
    "embedding",
    "find_handler",
    "handlers",
    "hgq",
    "qkeras",
    "reason_to_skip",
    "recurrent",
    "register_layer",
    "shape_at",
    "wrappers",
]
