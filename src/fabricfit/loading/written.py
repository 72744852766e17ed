"""Architectures in JSON, with their weights in a file of their own."""

from __future__ import annotations

from pathlib import Path

from fabricfit.loading.archive import assign_stored_weights
from fabricfit.loading.hdf5 import read_weight_file
from fabricfit.loading.recognition import find_weights
from fabricfit.loading.stored import StoredModel, read_architecture
from fabricfit.loading.weights import assign_weights
from fabricfit.reading import ARCHITECTURE, read_bytes

__all__ = ["read_json"]


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
    config, training = read_architecture(read_bytes(path, ARCHITECTURE), "the architecture", path)
    version = str(config.pop("keras_version", "3" if "module" in config else "2"))
    config.pop("backend", None)
    held = find_weights(path, weights)
    stored = read_weight_file(held)
    if stored is not None:
        given = stored
        return StoredModel(
            path, config, version, training, lambda model: assign_weights(model, given, held)
        )
    return StoredModel(
        path,
        config,
        version,
        training,
        lambda model: assign_stored_weights(model, held, held),
    )
