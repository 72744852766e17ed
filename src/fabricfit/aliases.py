"""Serving scripts that were written for ``hls4ml.optimization``, unchanged."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

__all__ = ["install_as_hls4ml_optimization"]

PREFIXES = ("hls4ml.optimization", "hls4ml.optimization.dsp_aware_pruning")
"""The names under which the older system has been importable."""

MODULES = (
    "",
    ".attributes",
    ".config",
    ".knapsack",
    ".objectives",
    ".objectives.gpu_objectives",
    ".objectives.vivado_objectives",
    ".scheduler",
    ".keras",
    ".keras.builder",
    ".keras.config",
    ".keras.masking",
    ".keras.reduction",
    ".keras.regularizers",
    ".keras.utils",
)
"""Modules of the older system that fabricfit has too, below either prefix."""


def install_as_hls4ml_optimization() -> None:
    """Make ``import hls4ml.optimization`` and its submodules mean fabricfit, in this process.

    Both historical prefixes are served, ``hls4ml.optimization`` and
    ``hls4ml.optimization.dsp_aware_pruning``. The rest of hls4ml, where it is installed, stays as it is;
    where it is not, an empty ``hls4ml`` stands in for it. Call it once, before the imports that it is
    for; calling it again does nothing more.

    Raises
    ------
    ModuleNotFoundError
        Keras is not installed.
    """
    parent = _hls4ml()
    for prefix in PREFIXES:
        for module in MODULES:
            sys.modules[prefix + module] = importlib.import_module("fabricfit" + module)
    package = sys.modules["fabricfit"]
    parent.optimization = package  # type: ignore[attr-defined]
    package.dsp_aware_pruning = package  # type: ignore[attr-defined]


def _hls4ml() -> ModuleType:
    """Return the installed hls4ml, or an empty module in its place."""
    try:
        return importlib.import_module("hls4ml")
    except ModuleNotFoundError as error:
        if error.name != "hls4ml":
            raise
    stand_in = ModuleType("hls4ml", "Stands in for hls4ml, which is not installed.")
    stand_in.__path__ = []
    sys.modules["hls4ml"] = stand_in
    return stand_in
