"""The rooms that know Keras: optimizing a model, and what that takes."""

from fabricfit.keras.compatibility import optimize_keras_model_for_hls4ml, optimize_model
from fabricfit.keras.masked_backprop import MaskedBackprop
from fabricfit.layers import LayerHandler, register_layer
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
