"""Models and samples, read from files."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.cli.configuration import DataConfig
from fabricfit.errors import InvalidInputError, require

__all__ = ["import_plugins", "load_data", "load_model"]

Parts = tuple[Any, ...]
"""Inputs, targets, and weights of samples, if there are any."""


def import_plugins(names: Iterable[str]) -> None:
    """Import modules whose layers a model needs.

    Raises
    ------
    InvalidInputError
        A module cannot be imported.
    """
    for name in names:
        _import_module(name, "a plugin")


def load_model(name: str) -> Any:
    """Load a model, in whatever format it is; no code that a file might hold is run.

    Raises
    ------
    InvalidInputError
        There is none, or it cannot be loaded.
    MissingExtraError
        A package that it needs is not installed.
    """
    import fabricfit

    return fabricfit.load_model(name)


def load_data(config: DataConfig) -> tuple[Parts, Parts]:
    """Return samples for training and for validation.

    Raises
    ------
    InvalidInputError
        A source is missing, or does not hold the arrays that the configuration names.
    """
    found = _read_source(config.source, config)
    if config.validation is not None:
        return _select_training(found, config.source), _select_training(
            _read_source(config.validation, config), config.validation
        )
    if _are_both(found):
        return found
    if isinstance(found, Mapping) and "validation" in found:
        return _select_training(found, config.source), _read_named(
            found["validation"], config.source
        )
    return _split_samples(_select_training(found, config.source), config.validation_fraction)


def _select_training(found: Any, source: str) -> Parts:
    if isinstance(found, Mapping) and "train" in found:
        return _read_named(found["train"], source)
    return _read_named(found[0] if _are_both(found) else found, source)


def _read_named(found: Any, source: str) -> Parts:
    """Return inputs, targets and weights, which may come by name: ``{'X': …, 'y': …, 'w': …}``."""
    if isinstance(found, Mapping) and {"X", "y"} <= set(found) <= {"X", "y", "w"}:
        found = tuple(found[key] for key in ("X", "y", "w") if key in found)
    if not _is_data_set(found):
        raise InvalidInputError(
            f"{source} must give inputs and targets, (X, y), or (X, y, weights). Received: {type(found)!r}"
        )
    return tuple(part for part in found if part is not None)


def _is_data_set(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) in (2, 3)


def _are_both(value: Any) -> bool:
    """Whether a value is data to train with and data to validate with."""
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_data_set, value))


def _read_source(source: str, config: DataConfig) -> Any:
    """Return one data set, or two, or these by name."""
    module, colon, function = source.partition(":")
    if colon and "/" not in module and "\\" not in module and len(module) > 1:
        found = getattr(_import_module(module, "the data's module"), function, None)
        if not callable(found):
            raise InvalidInputError(
                f"module {module!r} has no function {function!r} that gives data."
            )
        return found()
    path = Path(source).expanduser()
    if not path.is_file():
        raise InvalidInputError(f"there are no data at {path}.")
    if path.suffix == ".npz":
        return _pair_arrays(_read_npz(path), path, config)
    if path.suffix in (".h5", ".hdf5"):
        return _pair_arrays(_read_hdf5(path), path, config)
    if path.suffix == ".parquet":
        return _read_parquet(path, config)
    raise InvalidInputError(
        f"data must be an .npz, .h5 or .parquet file, or 'module:function'. Received: {source!r}"
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as held:
            if not hasattr(held, "files"):
                raise ValueError("it holds a single array")
            return {name: held[name] for name in held.files}
    except Exception as error:
        raise InvalidInputError(f"{path} cannot be read as an .npz file: {error}") from error


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    h5py = require("h5py", "cli", "reading HDF5")
    try:
        with h5py.File(path, "r") as file:
            return {name: np.asarray(held) for name, held in file.items() if hasattr(held, "shape")}
    except Exception as error:
        raise InvalidInputError(f"{path} cannot be read as an HDF5 file: {error}") from error


def _read_parquet(path: Path, config: DataConfig) -> Parts:
    parquet = require("pyarrow.parquet", "parquet", "reading Parquet")
    try:
        table = parquet.read_table(path)
        columns = {name: np.asarray(table[name].to_numpy()) for name in table.column_names}
    except Exception as error:
        raise InvalidInputError(f"{path} cannot be read as a Parquet file: {error}") from error
    inputs, targets = _as_names(config.inputs), _as_names(config.targets)
    weights = [config.weights or "w"] if config.weights or "w" in columns else []
    others = {*_every_name(targets), *weights}
    inputs = inputs or [name for name in columns if name not in others]
    for name in (*_every_name(targets), *_every_name(inputs), *weights):
        if name not in columns:
            raise InvalidInputError(f"{path} has no column {name!r}. It has: {', '.join(columns)}.")
        if columns[name].dtype.kind not in "biuf":
            raise InvalidInputError(f"column {name!r} of {path} must hold numbers.")
    if not inputs:
        raise InvalidInputError(f"{path} has no columns beside the targets.")
    X, y = (_stack(columns, names, kind) for names, kind in ((inputs, "float32"), (targets, None)))
    return X, y, *(columns[name] for name in weights)


def _as_names(names: Any) -> Any:
    return [names] if isinstance(names, str) else names


def _every_name(names: Any) -> list[str]:
    """Return the names of all arrays or columns, of whatever inputs or targets."""
    parts = names.values() if isinstance(names, Mapping) else names
    return [each for part in parts for each in _as_names(part)]


def _stack(columns: Mapping[str, np.ndarray], names: Any, kind: str | None) -> Any:
    """Return columns side by side; one column of targets as it is."""
    if isinstance(names, Mapping):
        return {key: _stack(columns, _as_names(each), kind) for key, each in names.items()}
    if len(names) == 1 and kind is None:
        return columns[names[0]]
    stacked = np.stack([columns[name] for name in names], axis=1)
    return stacked if kind is None else stacked.astype(kind)


def _pair_arrays(arrays: Mapping[str, np.ndarray], path: Path, config: DataConfig) -> Any:
    """Return what a file of arrays holds, for training and, if it is there, for validation."""
    names = (config.inputs or "X", config.targets, config.weights or "w")
    found = {}
    for part, suffixes in (("train", ("", "_train")), ("validation", ("_val",))):
        for suffix in suffixes:
            X, y, w = (_pick(arrays, each, suffix) for each in names)
            if X is not None and y is not None:
                if w is None and config.weights is not None:
                    raise InvalidInputError(
                        f"{path} must hold the weights {config.weights + suffix!r}. It has: "
                        f"{', '.join(arrays)}."
                    )
                found[part] = (X, y) if w is None else (X, y, w)
                break
    if "train" not in found:
        X, y = (_every_name(_as_names(each)) for each in names[:2])
        wanted = " and ".join(map(repr, (*X, *y)))
        with_suffix = " and ".join(f"'{name}_train'" for name in (*X, *y))
        raise InvalidInputError(
            f"{path} must hold {wanted}, or {with_suffix}. It has: {', '.join(arrays) or 'nothing'}."
        )
    for parts in found.values():
        _check_parts(parts, path)
    return found if len(found) > 1 else found["train"]


def _pick(arrays: Mapping[str, np.ndarray], names: Any, suffix: str) -> Any:
    """Return an array, or several by the names of inputs or outputs; None if one is missing."""
    if isinstance(names, list):
        names = names[0] if len(names) == 1 else dict(zip(names, names, strict=True))
    if isinstance(names, str):
        return arrays.get(f"{names}{suffix}")
    picked = {key: _pick(arrays, name, suffix) for key, name in names.items()}
    return None if any(each is None for each in picked.values()) else picked


def _check_parts(parts: Parts, path: Path) -> None:
    import keras

    leaves = keras.tree.flatten(parts)
    for array in leaves:
        if array.dtype.kind not in "biuf" or not array.ndim:
            raise InvalidInputError(
                f"{path} must hold arrays of numbers. Received: {array.dtype} of shape {array.shape}"
            )
    if len({len(array) for array in leaves}) > 1:
        raise InvalidInputError(
            f"{path} must hold as many inputs as targets. Received: {[len(array) for array in leaves]}"
        )


def _split_samples(parts: Parts, fraction: float) -> tuple[Parts, Parts]:
    """Set a fraction of the samples aside for validation, the same ones for the same data."""
    import keras

    leaves = keras.tree.flatten(parts)
    count = len(leaves[0])
    held = round(count * fraction)
    if not 0 < held < count:
        raise InvalidInputError(
            f"data.validation_fraction={fraction} of {count} samples leaves none to train or to validate "
            "with. Change it, or name a source of validation data (data.validation)."
        )
    order = np.random.default_rng(0).permutation(count)
    return tuple(
        keras.tree.map_structure(lambda leaf, i=index: np.asarray(leaf)[i], parts)
        for index in (np.sort(order[held:]), np.sort(order[:held]))
    )


def _import_module(name: str, what: str) -> Any:
    present = str(Path.cwd())
    added = present not in sys.path
    if added:
        sys.path.insert(0, present)
    try:
        return importlib.import_module(name)
    except Exception as error:  # a module may do anything
        raise InvalidInputError(f"{what} {name!r} cannot be imported: {error}") from error
    finally:
        if added:
            sys.path.remove(present)
