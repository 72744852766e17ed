"""fabricfit: make a trained Keras model fit an FPGA.

Nothing heavy is loaded before it is used: importing this package imports no deep-learning framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fabricfit._version import __version__

if TYPE_CHECKING:
    from fabricfit.aliases import install_as_hls4ml_optimization
    from fabricfit.attributes import (
        get_attributes_from_keras_model,
        get_attributes_from_keras_model_and_hls4ml_config,
    )
    from fabricfit.budget import Budget
    from fabricfit.config import SUPPORTED_STRUCTURES
    from fabricfit.errors import FabricFitError
    from fabricfit.firmware import verify
    from fabricfit.fitting import fit
    from fabricfit.keras import (
        OptimizationResult,
        OptimizationSettings,
        estimate,
        optimize,
        optimize_keras_model_for_hls4ml,
        optimize_model,
    )
    from fabricfit.ranking import register_criterion
    from fabricfit.sweeping import sweep

_HOMES = {
    "Budget": "fabricfit.budget",
    "FabricFitError": "fabricfit.errors",
    "OptimizationResult": "fabricfit.keras",
    "OptimizationSettings": "fabricfit.keras",
    "SUPPORTED_STRUCTURES": "fabricfit.config",
    "estimate": "fabricfit.keras",
    "fit": "fabricfit.fitting",
    "get_attributes_from_keras_model": "fabricfit.attributes",
    "get_attributes_from_keras_model_and_hls4ml_config": "fabricfit.attributes",
    "install_as_hls4ml_optimization": "fabricfit.aliases",
    "optimize": "fabricfit.keras",
    "optimize_keras_model_for_hls4ml": "fabricfit.keras",
    "optimize_model": "fabricfit.keras",
    "register_criterion": "fabricfit.ranking",
    "sweep": "fabricfit.sweeping",
    "verify": "fabricfit.firmware",
}

__all__ = [
    "SUPPORTED_STRUCTURES",
    "Budget",
    "FabricFitError",
    "OptimizationResult",
    "OptimizationSettings",
    "__version__",
    "estimate",
    "fit",
    "get_attributes_from_keras_model",
    "get_attributes_from_keras_model_and_hls4ml_config",
    "install_as_hls4ml_optimization",
    "optimize",
    "optimize_keras_model_for_hls4ml",
    "optimize_model",
    "register_criterion",
    "sweep",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fabricfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
