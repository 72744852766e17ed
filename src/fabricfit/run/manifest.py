"""Manifest of a run: what identifies it, and what it takes to repeat it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

from fabricfit._version import __version__

__all__ = ["FORM", "digest", "environment"]

FORM = 2
"""Form of a run's journal and checkpoints; raised with every change after which older ones cannot be read."""

_PACKAGES = (
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "torch",
    "numpy",
    "scipy",
    "hls4ml",
    "qkeras-v3",
    "hgq2",
)


def environment() -> dict[str, Any]:
    """Return the versions, machine and backend of this process."""
    keras = sys.modules.get("keras")
    return {
        "fabricfit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "backend": keras.backend.backend() if keras is not None else None,
        "versions": dict(_read_versions()),
    }


@functools.cache
def _read_versions() -> tuple[tuple[str, str], ...]:
    versions = []
    for name in _PACKAGES:
        try:
            versions.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(versions)


def digest(value: Any) -> str:
    """Return a short checksum of nested plain values, the same for equal ones."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
