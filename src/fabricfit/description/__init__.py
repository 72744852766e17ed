"""Plain descriptions of layers: shapes, number formats, and the groups that a kernel is divided into."""

from fabricfit.description.attributes import (
    LayerAttributes,
    OptimizationAttributes,
    hls4mlAttributes,
)
from fabricfit.description.grouping import Grouping
from fabricfit.description.layout import Layout
from fabricfit.description.precision import FixedPrecision, parse_precision
from fabricfit.description.skip_reasons import SkipReason
from fabricfit.description.structures import SUPPORTED_STRUCTURES

__all__ = [
    "SUPPORTED_STRUCTURES",
    "FixedPrecision",
    "Grouping",
    "LayerAttributes",
    "Layout",
    "OptimizationAttributes",
    "SkipReason",
    "hls4mlAttributes",
    "parse_precision",
]
