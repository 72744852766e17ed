"""Sources of samples: what they hold, found without reading the numbers; Keras is not needed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from fabricfit.cli.files import Table, open_arrays
from fabricfit.cli.sections import DataConfig
from fabricfit.errors import InvalidInputError
from fabricfit.reading import is_there
from fabricfit.samples import Column

__all__ = ["Parts", "find_parts", "import_plugins", "is_module"]

Parts = tuple[Any, ...]
"""Inputs, targets, and weights of samples, if there are any: arrays, or columns of files."""


def import_plugins(names: Iterable[str]) -> None:
    """Import modules whose layers a model needs.

    Raises
    ------
    InvalidInputError
        A module cannot be imported.
    """
    for name in names:
        _import_module(name, "a plugin")


def is_module(source: str) -> bool:
    """Whether a source is a function of a module, ``'module:function'``."""
    module, colon, _ = source.partition(":")
    return bool(colon) and "/" not in module and "\\" not in module and len(module) > 1


def find_parts(config: DataConfig) -> tuple[Parts, Parts | None]:
    """Return what the sources hold for training and, if there is any, for validation.

    Parameters
    ----------
    config
        The sources. Files are only opened; functions are called.

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
    return _select_training(found, config.source), None


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
    module, _, function = source.partition(":")
    if is_module(source):
        return _call(_find_function(module, function), source)
    path = Path(source).expanduser()
    if not is_there(path):
        raise InvalidInputError(f"there are no data at {path}.")
    if path.suffix == ".parquet" and path.is_file():
        return _pick_columns(Table(path), path, config)
    arrays = open_arrays(path)
    if arrays is None:
        raise InvalidInputError(
            "data must be an .npz, .h5 or .parquet file, a folder of .npy files, or 'module:function'. "
            f"Received: {source!r}"
        )
    return _pair_arrays(arrays, path, config)


def _pick_columns(table: Table, path: Path, config: DataConfig) -> Parts:
    """Return inputs, targets and weights in a table."""
    inputs, targets = _as_names(config.inputs), _as_names(config.targets)
    weights = [config.weights or "w"] if config.weights or "w" in table.names else []
    others = {*_every_name(targets), *weights}
    inputs = inputs or [name for name in table.names if name not in others]
    for name in (*_every_name(targets), *_every_name(inputs), *weights):
        if name not in table.names:
            raise InvalidInputError(
                f"{path} has no column {name!r}. It has: {', '.join(table.names)}."
            )
        if table.kind(name).kind not in "biuf":
            raise InvalidInputError(f"column {name!r} of {path} must hold numbers.")
    if not inputs:
        raise InvalidInputError(f"{path} has no columns beside the targets.")
    X, y = (_stack(table, names, kind) for names, kind in ((inputs, "float32"), (targets, None)))
    return X, y, *(table.column([name]) for name in weights)


def _as_names(names: Any) -> Any:
    return [names] if isinstance(names, str) else names


def _every_name(names: Any) -> list[str]:
    """Return the names of all arrays or columns, of whatever inputs or targets."""
    parts = names.values() if isinstance(names, Mapping) else names
    return [each for part in parts for each in _as_names(part)]


def _stack(table: Table, names: Any, kind: str | None) -> Any:
    """Return columns side by side; one column of targets as it is."""
    if isinstance(names, Mapping):
        return {key: _stack(table, _as_names(each), kind) for key, each in names.items()}
    return table.column(names, kind)


def _pair_arrays(arrays: Mapping[str, Column], path: Path, config: DataConfig) -> Any:
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
            f"{path} must hold {wanted}, or {with_suffix}. It has: {', '.join(arrays) or 'nothing'}. "
            "Other names are given with --inputs and --targets, or data.inputs and data.targets."
        )
    for parts in found.values():
        _check_parts(parts, path)
    return found if len(found) > 1 else found["train"]


def _pick(arrays: Mapping[str, Column], names: Any, suffix: str) -> Any:
    """Return an array, or several by the names of inputs or outputs; None if one is missing."""
    if isinstance(names, list):
        names = names[0] if len(names) == 1 else dict(zip(names, names, strict=True))
    if isinstance(names, str):
        return arrays.get(f"{names}{suffix}")
    picked = {key: _pick(arrays, name, suffix) for key, name in names.items()}
    return None if any(each is None for each in picked.values()) else picked


def _every_array(parts: Any) -> Iterator[Any]:
    """Yield the arrays of parts, each of which is one or several by name."""
    if isinstance(parts, Column):
        yield parts
        return
    for each in parts.values() if isinstance(parts, Mapping) else parts:
        yield from _every_array(each)


def _check_parts(parts: Parts, path: Path) -> None:
    leaves = list(_every_array(parts))
    for array in leaves:
        if array.dtype.kind not in "biuf" or not array.shape:
            raise InvalidInputError(
                f"{array.name} must be an array of numbers. Received: {array.dtype} of shape {array.shape}"
            )
        if not all(array.shape):
            raise InvalidInputError(
                f"{array.name} has no numbers in it. Its shape is {array.shape}."
            )
    if len({len(array) for array in leaves}) > 1:
        raise InvalidInputError(
            f"{path} must hold as many inputs as targets. Received: {[len(array) for array in leaves]}"
        )


def _import_module(name: str, what: str) -> Any:
    present = str(Path.cwd())
    added = present not in sys.path
    if added:
        sys.path.insert(0, present)
    try:
        with redirect_stdout(sys.stderr):  # standard output is the command's
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may do anything, and must not end the process
        raise InvalidInputError(
            f"{what} {name[:200]!r} cannot be imported: {_describe(error)}"
        ) from error
    finally:
        if added:
            sys.path.remove(present)


def _find_function(module: str, name: str) -> Any:
    """Return a function of a module of the user's."""
    held = _import_module(module, "the data's module")
    found = getattr(held, name, None)
    if not callable(found):
        raise InvalidInputError(
            f"module {module!r} has no function {name[:200]!r} that gives data."
        )
    is_here = str(getattr(held, "__file__", None) or "").startswith(str(Path.cwd()))
    if module.partition(".")[0] in sys.stdlib_module_names and not is_here:
        raise InvalidInputError(
            f"{module}:{name} is of Python's own, and gives no samples. Name a function of yours, which "
            "returns (X, y)."
        )
    return found


def _call(function: Any, source: str) -> Any:
    """Return what a function of the user's gives."""
    try:
        with redirect_stdout(sys.stderr):
            return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it may do anything, and must not end the process
        raise InvalidInputError(f"{source} gives no samples: {_describe(error)}") from error


def _describe(error: BaseException) -> str:
    said = " ".join(str(error).split())[:300]
    if isinstance(error, SystemExit):
        return f"it ends the process (exit code {said or 0})"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
