"""The rules of all known layer families; importing this package registers them."""

from fabricfit.keras.surgery.families import (
    attention,
    depthwise,
    merging,
    normalization,
    products,
    quantized,
    recurrent,
    reshaping,
    tables,
    unitwise,
    wrapped,
)

__all__ = [
    "attention",
    "depthwise",
    "merging",
    "normalization",
    "products",
    "quantized",
    "recurrent",
    "reshaping",
    "tables",
    "unitwise",
    "wrapped",
]
