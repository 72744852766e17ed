"""Descriptions of layers, under their historical name."""

from __future__ import annotations

from fabricfit.description.attributes import (
    LayerAttributes,
    OptimizationAttributes,
    hls4mlAttributes,
)
from fabricfit.network.describe import (
    get_attributes_from_keras_model,
    get_attributes_from_keras_model_and_hls4ml_config,
)

__all__ = [
    "LayerAttributes",
    "OptimizationAttributes",
    "get_attributes_from_keras_model",
    "get_attributes_from_keras_model_and_hls4ml_config",
    "hls4mlAttributes",
]
