"""The rules of all known layer families; importing this package registers them."""

from fabricfit.surgery.families import (
    attention,
    depthwise,
    merging,
    normalization,
    quantized,
    recurrent,
    reshaping,
)
from fabricfit.surgery.families import dense_and_conv as products
from fabricfit.surgery.families import elementwise as unitwise
from fabricfit.surgery.families import embedding as tables
from fabricfit.surgery.families import time_distributed as wrapped

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
