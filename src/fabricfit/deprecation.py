"""Names that have changed: the old ones serve for one release, with a warning."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["serve_old_names"]


def serve_old_names(module: str, renamed: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that serves old names.

    Parameters
    ----------
    module
        The module's ``__name__``.
    renamed
        Old name -> new one: of the same module, or ``'package.module:name'`` of another.

    Returns
    -------
    callable
        Returns what an old name stands for, with a ``DeprecationWarning``; raises ``AttributeError`` for any
        other name.
    """

    def serve(name: str) -> Any:
        if name not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = renamed[name].rpartition(":")
        place = place or module
        warnings.warn(
            f"{module}.{name} is now {place}.{new}; the old name goes with the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(place), new)

    return serve
