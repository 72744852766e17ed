"""One door for models in files: Keras 3 and 2, QKeras, HGQ2, PQuantML, and projects of hls4ml."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabricfit.loading.load import load_model
    from fabricfit.loading.saving import serialize_model, serialize_weights

__all__ = ["load_model", "serialize_model", "serialize_weights"]

_HOMES = {"load_model": "load", "serialize_model": "saving", "serialize_weights": "saving"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:  # imported at first use, so that a look at a file needs no Keras
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
