"""Entry points under their historical names."""

from fabricfit.deprecation import serve_old_names
from fabricfit.keras.compatibility import optimize_keras_model_for_hls4ml, optimize_model
from fabricfit.keras.masked_backprop import MaskedBackprop
from fabricfit.layers import register_layer
from fabricfit.network.estimation import estimate
from fabricfit.optimization.optimize import OptimizationResult, optimize
from fabricfit.optimization.settings import OptimizationSettings

__all__ = [
    "MaskedBackprop",
    "OptimizationResult",
    "OptimizationSettings",
    "estimate",
    "optimize",
    "optimize_keras_model_for_hls4ml",
    "optimize_model",
    "register_layer",
]


__getattr__ = serve_old_names(__name__, {"LayerHandler": "fabricfit.layers:LayerFamily"})
