"""Entry points under their historical names."""

import warnings
from typing import Any

from fabricfit.keras.compatibility import optimize_keras_model_for_hls4ml, optimize_model
from fabricfit.keras.masked_backprop import MaskedBackprop
from fabricfit.layers import register_layer
from fabricfit.network.estimation import estimate
from fabricfit.optimization.optimize import OptimizationResult, optimize
from fabricfit.optimization.settings import OptimizationSettings

__all__ = [
    "LayerHandler",
    "MaskedBackprop",
    "OptimizationResult",
    "OptimizationSettings",
    "estimate",
    "optimize",
    "optimize_keras_model_for_hls4ml",
    "optimize_model",
    "register_layer",
]


def __getattr__(name: str) -> Any:
    if name == "LayerHandler":
        from fabricfit.layers import LayerFamily

        warnings.warn(
            "fabricfit.keras.LayerHandler is now fabricfit.LayerFamily, whose `handles` is a tuple of layer "
            "types; the old name will be removed in the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return LayerFamily
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
