"""Checks that the author of a plug-in runs: plain assertions with messages, without a test framework."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabricfit.testing.criteria import check_criterion
    from fabricfit.testing.layers import check_layer_family
    from fabricfit.testing.objectives import check_objective
    from fabricfit.testing.schedulers import check_scheduler
    from fabricfit.testing.solvers import check_solver

__all__ = [
    "check_criterion",
    "check_layer_family",
    "check_objective",
    "check_scheduler",
    "check_solver",
]

_HOMES = {
    "check_criterion": "fabricfit.testing.criteria",
    "check_layer_family": "fabricfit.testing.layers",
    "check_objective": "fabricfit.testing.objectives",
    "check_scheduler": "fabricfit.testing.schedulers",
    "check_solver": "fabricfit.testing.solvers",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # not all of them need Keras
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
