"""Models and samples, read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from fabricfit.cli.files import as_column, hold_column
from fabricfit.cli.sections import DataConfig
from fabricfit.cli.sources import Parts, find_parts
from fabricfit.errors import InvalidInputError
from fabricfit.samples import Column, Joined, Stored

__all__ = ["join_samples", "load_data", "load_model", "take_samples"]

_GIB = 2**30


def load_model(name: str, weights: str | Path | None = None) -> Any:
    """Load a model, in whatever format it is; no code that a file might hold is run.

    Parameters
    ----------
    name
        The file or folder.
    weights
        The file of weights of a ``.json`` model, where they are not beside it.

    Raises
    ------
    InvalidInputError
        There is none, or it cannot be loaded.
    MissingExtraError
        A package that it needs is not installed.
    """
    import fabricfit

    return fabricfit.load_model(name, weights=weights)


def load_data(config: DataConfig) -> tuple[Any, Any]:
    """Return samples for training and for validation.

    They are arrays, ``(X, y)`` or ``(X, y, weights)``, where all of them have at most ``memory_gib``; else
    data sets that read their files block by block.

    Raises
    ------
    InvalidInputError
        A source is missing, or does not hold the arrays that the configuration names.
    """
    training, validation = find_parts(config)
    for parts, source in ((training, config.source), (validation, config.validation)):
        _check_arrays(parts, source or config.source)
    training, validation = keras.tree.map_structure(as_column, (training, validation))
    columns = [each for each in keras.tree.flatten((training, validation)) if _is_column(each)]
    if sum(each.nbytes for each in columns) <= config.memory_gib * _GIB:
        training, validation = keras.tree.map_structure(_read_whole, (training, validation))
    both = [_open_stored(each) for each in (training, validation)]
    if validation is None:
        both = list(_split_samples(both[0], config.validation_fraction))
    return both[0], both[1]


def _check_arrays(parts: Parts | None, source: str) -> None:
    """Refuse what a function of the user's gives in the place of arrays, one for each input and output."""
    for each in keras.tree.flatten(() if parts is None else parts):
        if not getattr(each, "shape", ()):
            raise InvalidInputError(
                f"{source} must give arrays, with the samples along their first axes. Received: "
                f"{type(each).__name__} ({str(each)[:60]})"
            )


def join_samples(validation: Any, training: Any, *, targets: bool) -> Any:
    """Return all samples, those for validation first.

    Parameters
    ----------
    validation, training
        What :func:`load_data` returns.
    targets
        Whether to return targets, and weights if there are any, besides inputs.
    """
    if isinstance(validation, Stored) or isinstance(training, Stored):
        parts = [
            each if isinstance(each, Stored) else _store(each) for each in (validation, training)
        ]
        return Joined(tuple(each if targets else each.without_targets() for each in parts))
    joined: Parts = keras.tree.map_structure(
        lambda *parts: np.concatenate(parts), validation, training
    )
    return joined if targets else joined[0]


def take_samples(data: Any, most: int) -> Any:
    """Return samples as arrays: of a file that is read block by block, at most so many evenly spread ones.

    These come in random order, so that the first of them are spread over the file, too.
    """
    if not isinstance(data, Stored):
        return data
    found = data.spread(most)
    mixed = np.random.default_rng(0).permutation(len(keras.tree.flatten(found)[0]))
    parts: Parts = keras.tree.map_structure(lambda array: array[mixed], found)
    return parts


def _is_column(array: Any) -> bool:
    return isinstance(array, Column)


def _read_whole(array: Any) -> Any:
    return array.whole() if isinstance(array, Column) else array


def _open_stored(parts: Parts | None) -> Any:
    """Return a data set of columns, if there are any; arrays as they are."""
    if parts is None or not any(map(_is_column, keras.tree.flatten(parts))):
        return parts
    return _store(parts)


def _store(parts: Parts) -> Stored:
    return Stored(keras.tree.map_structure(hold_column, parts))


def _split_samples(parts: Any, fraction: float) -> tuple[Any, Any]:
    """Set a fraction of the samples aside for validation, the same ones for the same data."""
    count = len(parts) if isinstance(parts, Stored) else len(keras.tree.flatten(parts)[0])
    held = round(count * fraction)
    if not 0 < held < count:
        raise InvalidInputError(
            f"data.validation_fraction={fraction} of {count} samples leaves none to train or to validate "
            "with. Change it, or name a source of validation data (data.validation)."
        )
    if isinstance(parts, Stored):
        return parts.split(fraction)
    order = np.random.default_rng(0).permutation(count)
    training, validation = (
        keras.tree.map_structure(lambda leaf, i=index: np.asarray(leaf)[i], parts)
        for index in (np.sort(order[held:]), np.sort(order[:held]))
    )
    return training, validation
