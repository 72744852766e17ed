"""fabricfit: make a trained Keras model fit an FPGA.

Nothing heavy is loaded before it is used: importing this package imports no deep-learning framework.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING, Any

from fabricfit._version import __version__

if TYPE_CHECKING:
    from fabricfit.aliases import install_as_hls4ml_optimization
    from fabricfit.calibration.calibrate import calibrate
    from fabricfit.choices.ranking import register_criterion
    from fabricfit.description.structures import SUPPORTED_STRUCTURES
    from fabricfit.design import explore
    from fabricfit.errors import FabricFitError
    from fabricfit.firmware import to_rtl, verify
    from fabricfit.hardware.budget import Budget
    from fabricfit.keras import optimize_keras_model_for_hls4ml, optimize_model
    from fabricfit.layers import LayerFamily, register_layer
    from fabricfit.loading.load import load_model
    from fabricfit.network.describe import (
        get_attributes_from_keras_model,
        get_attributes_from_keras_model_and_hls4ml_config,
    )
    from fabricfit.network.estimation import estimate
    from fabricfit.optimization.fit import fit
    from fabricfit.optimization.masked import masked
    from fabricfit.optimization.optimize import optimize
    from fabricfit.optimization.result import OptimizationResult
    from fabricfit.optimization.settings import OptimizationSettings
    from fabricfit.optimization.sweep import sweep
    from fabricfit.surgery.reduction import reduce_model

_HOMES = {
    "Budget": "fabricfit.hardware.budget",
    "FabricFitError": "fabricfit.errors",
    "LayerFamily": "fabricfit.layers",
    "OptimizationResult": "fabricfit.optimization.result",
    "OptimizationSettings": "fabricfit.optimization.settings",
    "SUPPORTED_STRUCTURES": "fabricfit.description.structures",
    "calibrate": "fabricfit.calibration.calibrate",
    "estimate": "fabricfit.network.estimation",
    "explore": "fabricfit.design",
    "fit": "fabricfit.optimization.fit",
    "get_attributes_from_keras_model": "fabricfit.network.describe",
    "get_attributes_from_keras_model_and_hls4ml_config": "fabricfit.network.describe",
    "install_as_hls4ml_optimization": "fabricfit.aliases",
    "load_model": "fabricfit.loading.load",
    "masked": "fabricfit.optimization.masked",
    "optimize": "fabricfit.optimization.optimize",
    "optimize_keras_model_for_hls4ml": "fabricfit.keras",
    "optimize_model": "fabricfit.keras",
    "reduce_model": "fabricfit.surgery.reduction",
    "register_criterion": "fabricfit.choices.ranking",
    "register_layer": "fabricfit.layers",
    "sweep": "fabricfit.optimization.sweep",
    "to_rtl": "fabricfit.firmware",
    "verify": "fabricfit.firmware",
}

__all__ = [
    "SUPPORTED_STRUCTURES",
    "Budget",
    "FabricFitError",
    "LayerFamily",
    "OptimizationResult",
    "OptimizationSettings",
    "__version__",
    "calibrate",
    "estimate",
    "explore",
    "fit",
    "get_attributes_from_keras_model",
    "get_attributes_from_keras_model_and_hls4ml_config",
    "install_as_hls4ml_optimization",
    "load_model",
    "masked",
    "optimize",
    "optimize_keras_model_for_hls4ml",
    "optimize_model",
    "reduce_model",
    "register_criterion",
    "register_layer",
    "sweep",
    "to_rtl",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if not name.startswith("_") and importlib.util.find_spec(f"fabricfit.{name}") is not None:
        return importlib.import_module(f"fabricfit.{name}")  # a package, imported at first use
    raise AttributeError(f"module 'fabricfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    inside = (module.name for module in pkgutil.iter_modules(__path__))
    own = (name for name in globals() if name.startswith("__"))  # not what this module imports
    return sorted({*own, *__all__, *(name for name in inside if not name.startswith("_"))})
