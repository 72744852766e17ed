"""Designs chosen for a board and a deadline: how each layer is built, exactly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabricfit.design.choice import Choice, choose_options
    from fabricfit.design.designs import Design, Exploration
    from fabricfit.design.exploration import explore
    from fabricfit.design.loss_curvature import measure_curvature
    from fabricfit.design.options import DesignSpace, LayerOption

_HOMES = {
    "Choice": "choice",
    "Design": "designs",
    "DesignSpace": "options",
    "Exploration": "designs",
    "LayerOption": "options",
    "choose_options": "choice",
    "explore": "exploration",
    "measure_curvature": "loss_curvature",
}
"""Public name -> its module, imported at first use, so that ``import fabricfit`` needs no Keras."""

__all__ = [
    "Choice",
    "Design",
    "DesignSpace",
    "Exploration",
    "LayerOption",
    "choose_options",
    "explore",
    "measure_curvature",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
