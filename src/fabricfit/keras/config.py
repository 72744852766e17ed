"""Supported layers and ranking metrics, under their historical names.

``SUPPORTED_LAYERS`` and ``SUPPORTED_METRICS`` are read off the registries each time they are asked for:
they show what users have registered, and the layers of QKeras and HGQ2 once these are imported.
"""

from __future__ import annotations

import sys
from typing import Any

from fabricfit.run.files import TMP_DIRECTORY

__all__ = ["SUPPORTED_LAYERS", "SUPPORTED_METRICS", "TMP_DIRECTORY"]


def _list_supported_layers() -> tuple[type, ...]:
    import keras

    from fabricfit.layers import family_of_type

    homes = [keras.layers, *(sys.modules.get(name) for name in ("qkeras", "hgq.layers"))]
    kinds = {
        kind: None
        for home in homes
        for kind in vars(home or object).values()
        if isinstance(kind, type)
    }
    return tuple(
        kind
        for kind in kinds
        if (family := family_of_type(kind)) is not None and family.has_kernels
    )


def __getattr__(name: str) -> Any:
    if name == "SUPPORTED_LAYERS":
        return _list_supported_layers()
    if name == "SUPPORTED_METRICS":
        from fabricfit.choices.ranking import criteria

        return criteria()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
