"""The rules of all known layer families; importing this package registers them."""

from fabricfit.keras.surgery.families import (
    depthwise,
    merging,
    normalization,
    products,
    quantized,
    reshaping,
    unitwise,
)

__all__ = [
    "depthwise",
    "merging",
    "normalization",
    "products",
    "quantized",
    "reshaping",
    "unitwise",
]
