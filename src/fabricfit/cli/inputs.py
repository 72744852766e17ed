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

Pair = tuple[Any, Any]


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
    """Load a Keras model, in safe mode: no code that a file might hold is run.

    Raises
    ------
    InvalidInputError
        The file is missing, or cannot be loaded in safe mode.
    """
    import keras

    path = Path(name).expanduser()
    if not path.is_file():
        raise InvalidInputError(
            f"there is no model at {path}. Save one with model.save('….keras')."
        )
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise InvalidInputError(f"a model must be a .keras or .h5 file. Received: {path}")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a file provokes
        said = " ".join(str(error).split())[:300]
        raise InvalidInputError(
            f"{path} cannot be loaded as a Keras model; layers of other packages need their package "
            f"among the plugins (--plugin). Keras says: {said}"
        ) from error


def load_data(config: DataConfig) -> tuple[Pair, Pair]:
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
    if isinstance(found, tuple) and len(found) == 2 and all(map(_is_pair, found)):
        return found
    if isinstance(found, Mapping):
        return found["train"], found["validation"]
    return _split_samples(_select_training(found, config.source), config.validation_fraction)


def _select_training(found: Any, source: str) -> Pair:
    if isinstance(found, Mapping):
        return found["train"]
    if _is_pair(found) and all(map(_is_pair, found)):
        return found[0]
    if not _is_pair(found):
        raise InvalidInputError(
            f"{source} must give inputs and targets, (X, y). Received: {type(found)!r}"
        )
    return found


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _read_source(source: str, config: DataConfig) -> Any:
    """Return a pair, two pairs, or both by name."""
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


def _read_parquet(path: Path, config: DataConfig) -> Pair:
    parquet = require("pyarrow.parquet", "parquet", "reading Parquet")
    try:
        table = parquet.read_table(path)
        columns = {name: np.asarray(table[name].to_numpy()) for name in table.column_names}
    except Exception as error:
        raise InvalidInputError(f"{path} cannot be read as a Parquet file: {error}") from error
    targets = [config.targets] if isinstance(config.targets, str) else config.targets
    inputs = [config.inputs] if isinstance(config.inputs, str) else config.inputs
    inputs = inputs or [name for name in columns if name not in targets]
    for name in (*targets, *inputs):
        if name not in columns:
            raise InvalidInputError(f"{path} has no column {name!r}. It has: {', '.join(columns)}.")
        if columns[name].dtype.kind not in "biuf":
            raise InvalidInputError(f"column {name!r} of {path} must hold numbers.")
    if not inputs:
        raise InvalidInputError(f"{path} has no columns beside the targets.")
    X = np.stack([columns[name] for name in inputs], axis=1).astype("float32")
    y = (
        columns[targets[0]]
        if len(targets) == 1
        else np.stack([columns[n] for n in targets], axis=1)
    )
    return X, y


def _pair_arrays(arrays: Mapping[str, np.ndarray], path: Path, config: DataConfig) -> Any:
    inputs = config.inputs if isinstance(config.inputs, str) else None
    X, y = inputs or "X", config.targets if isinstance(config.targets, str) else "y"
    pairs = {
        "train": ((X, y), (f"{X}_train", f"{y}_train")),
        "validation": ((f"{X}_val", f"{y}_val"),),
    }
    found = {
        part: next(((arrays[a], arrays[b]) for a, b in names if a in arrays and b in arrays), None)
        for part, names in pairs.items()
    }
    if found["train"] is None:
        raise InvalidInputError(
            f"{path} must hold {X!r} and {y!r}, or '{X}_train' and '{y}_train'. It has: "
            f"{', '.join(arrays) or 'nothing'}."
        )
    for part in found.values():
        if part is not None:
            _check_pair(part, path)
    return found["train"] if found["validation"] is None else found


def _check_pair(pair: Pair, path: Path) -> None:
    for array in pair:
        if array.dtype.kind not in "biuf" or not array.ndim:
            raise InvalidInputError(
                f"{path} must hold arrays of numbers. Received: {array.dtype} of shape {array.shape}"
            )
    if len(pair[0]) != len(pair[1]):
        raise InvalidInputError(
            f"{path} must hold as many inputs as targets. Received: {len(pair[0])} and {len(pair[1])}"
        )


def _split_samples(pair: Pair, fraction: float) -> tuple[Pair, Pair]:
    """Set a fraction of the samples aside for validation, the same ones for the same data."""
    import keras

    leaves = keras.tree.flatten(pair)
    count = len(leaves[0])
    held = round(count * fraction)
    if not 0 < held < count:
        raise InvalidInputError(
            f"data.validation_fraction={fraction} of {count} samples leaves none to train or to validate "
            "with. Change it, or name a source of validation data (data.validation)."
        )
    order = np.random.default_rng(0).permutation(count)
    return tuple(
        keras.tree.map_structure(lambda leaf, i=index: np.asarray(leaf)[i], pair)
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
