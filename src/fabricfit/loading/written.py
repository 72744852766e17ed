"""Architectures in JSON, with their weights in a file of their own."""

from __future__ import annotations

from pathlib import Path

from fabricfit.errors import InvalidInputError
from fabricfit.loading.archive import assign_stored_weights
from fabricfit.loading.hdf5 import read_weight_file
from fabricfit.loading.stored import StoredModel, decode_json, parse_architecture
from fabricfit.loading.weights import assign_weights

__all__ = ["read_json"]

_BESIDE = ("{}_weights.h5", "{}.weights.h5", "{}.h5")


def read_json(path: Path, weights: Path | None = None) -> StoredModel:
    """Read what ``model.to_json()`` wrote, and find its weights.

    Parameters
    ----------
    path
        The .json file.
    weights
        The file of weights; by default the one beside it.

    Raises
    ------
    InvalidInputError
        It is no architecture, or its weights are missing.
    """
    try:
        found = decode_json(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
    config = parse_architecture(found, path)
    version = str(config.pop("keras_version", "3" if "module" in config else "2"))
    config.pop("backend", None)
    training = config.pop("compile_config", None)
    held = _find_weights(path, weights)
    stored = read_weight_file(held)
    if stored is not None:
        given = stored
        return StoredModel(
            path, config, version, training, lambda model: assign_weights(model, given, held)
        )
    return StoredModel(
        path, config, version, training, lambda model: assign_stored_weights(model, held, held)
    )


def _find_weights(path: Path, weights: Path | None) -> Path:
    beside = [path.with_name(name.format(path.stem)) for name in _BESIDE]
    for each in beside if weights is None else [weights]:
        if each.is_file():
            return each
    if weights is not None:
        raise InvalidInputError(f"there are no weights at {weights}.")
    raise InvalidInputError(
        f"{path} is an architecture without weights. Put them beside it, as {beside[0].name}, "
        f"{beside[1].name} or {beside[2].name}; or name both in an hls4ml configuration, as "
        "KerasJson and KerasH5; or pass weights=… in Python."
    )
