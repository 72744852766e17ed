"""One door for models in files: Keras 3 and 2, QKeras, HGQ2, PQuantML, and projects of hls4ml."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabricfit.loading.load import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    if name not in __all__:  # imported at first use, so that a look at a file needs no Keras
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.load"), name)
