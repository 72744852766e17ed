"""Packages of quantized layers, found by the names in a file and imported where they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.errors import InvalidInputError, MissingExtraError
from fabricfit.loading.stored import StoredModel, described_objects

__all__ = ["find_objects"]


@dataclass(frozen=True)
class _LayerPackage:
    """A package whose layers files name.

    Parameters
    ----------
    title
        Its name in sentences.
    modules
        What is imported; the first one is searched for its classes.
    installed
        What pip installs.
    extra
        The extra of fabricfit that brings it.
    roots
        How modules and registered names of its classes begin.
    marker
        A name that the first module has, which tells it from another package of the same name.
    beside
        What is to be said of the environment.
    """

    title: str
    modules: tuple[str, ...]
    installed: str
    extra: str
    roots: tuple[str, ...]
    marker: str
    beside: str


_QKERAS = _LayerPackage(
    "QKeras",
    ("qkeras",),
    "qkeras-v3",
    "qkeras",
    ("qkeras",),
    "QDense",
    "in an environment without HGQ2, which installs another package named qkeras",
)
_HGQ = _LayerPackage(
    "HGQ2",
    ("hgq.layers", "hgq.quantizer", "hgq.constraints", "hgq.regularizers"),
    "hgq2",
    "hgq",
    ("hgq", "hgq2"),
    "QDense",
    "in an environment without qkeras-v3: both install a package named qkeras",
)
_PQUANT = _LayerPackage(
    "PQuantML",
    ("pquant.core.keras.layers", "pquant.core.keras.activations", "pquant.core.keras.quantizer"),
    "pquant-ml",
    "pquant",
    ("pquant", "PQuant", "PQuantML"),
    "PQDense",
    "in the environment of HGQ2, whose quantizers it uses, so without qkeras-v3",
)
_PACKAGES = (_QKERAS, _HGQ, _PQUANT)

_FIRST_HGQ = ("FixedPointQuantizer", "HActivation", "HConv1D", "HConv2D", "HDense", "HQuantize")
"""Classes of the first HGQ, which is a package for Keras 2."""


def find_objects(stored: StoredModel) -> dict[str, Any]:
    """Return the classes of the packages whose layers a file names, imported now.

    Parameters
    ----------
    stored
        What was read of the file.

    Raises
    ------
    InvalidInputError
        The layers are those of the first HGQ, for Keras 2.
    MissingExtraError
        A package is not installed.
    """
    named: dict[_LayerPackage, str] = {}
    for package, kind in _list_packages(stored):
        named.setdefault(package, kind)
    found: dict[str, Any] = {}
    for package, kind in named.items():
        found |= _import_package(package, f"{stored.source} has layers of {package.title} ({kind})")
    return found


def _list_packages(stored: StoredModel) -> Iterator[tuple[_LayerPackage, str]]:
    for described, layer, _ in described_objects(stored.config):
        kind = described["class_name"]
        names = (described.get("module"), described.get("registered_name"), kind)
        roots = {_root(name) for name in names if isinstance(name, str)}
        if isinstance(kind, str) and ("HGQ" in roots or kind in _FIRST_HGQ):
            raise InvalidInputError(
                f"{stored.source}: layer {layer!r} is a {kind} of the first HGQ, a package for "
                "Keras 2 that Keras 3 cannot load. Build the model with HGQ2 (pip install "
                "'fabricfit[hgq]'), or build it with layers of Keras and copy the weights."
            )
        for package in _PACKAGES:
            if roots & set(package.roots):
                yield package, kind
        if stored.of_keras_2 and "module" not in described and _is_of_qkeras(kind):
            yield _QKERAS, kind


def _root(name: str) -> str:
    """Return the package of a module, or of a registered name such as 'hgq>QDense'."""
    return name.split(">")[0] if ">" in name else name.split(".")[0] if "." in name else ""


def _is_of_qkeras(kind: Any) -> bool:
    """Tell whether a class of a file of Keras 2 is QKeras': a Q before another capital."""
    return isinstance(kind, str) and len(kind) > 2 and kind[0] == "Q" and kind[1].isupper()


def _import_package(package: _LayerPackage, purpose: str) -> Mapping[str, Any]:
    """Return the classes of a package, imported now."""
    root = package.modules[0].split(".")[0]
    try:
        first, *_ = [importlib.import_module(name) for name in package.modules]
    except ModuleNotFoundError as error:
        missing = (error.name or root).split(".")[0]
        raise _explain_missing(package, purpose, None if missing == root else missing) from error
    except Exception as error:  # a package may do anything
        raise InvalidInputError(f"{purpose}, and {root!r} cannot be imported: {error}") from error
    if not hasattr(first, package.marker):
        raise _explain_missing(package, purpose)
    return {
        name: value
        for name, value in vars(first).items()
        if isinstance(value, type) and value.__module__.split(".")[0] == root
    }


def _explain_missing(
    package: _LayerPackage, purpose: str, missing: str | None = None
) -> MissingExtraError:
    return MissingExtraError(
        f"{purpose}, and {(missing or package.installed)!r} is not installed. Install it with: pip install "
        f"'fabricfit[{package.extra}]', {package.beside}."
    )
