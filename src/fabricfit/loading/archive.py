"""Models in .keras files."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.loading.stored import StoredModel, read_architecture, read_json
from fabricfit.reading import (
    ARCHITECTURE,
    check_archive,
    check_datasets,
    check_heaps,
    open_archive,
    read_bytes,
    read_member,
    require_regular,
)

__all__ = ["assign_stored_weights", "read_archive", "read_unpacked"]

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def read_archive(path: Path) -> StoredModel:
    """Read a .keras file: an archive of a configuration and weights.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InvalidInputError
        It holds no model.
    """
    with open_archive(path) as archive:
        check_archive(archive, path)
        names = archive.namelist()
        if _CONFIG not in names:
            raise InvalidInputError(
                f"{path} is an archive without a config.json, so that it is not what "
                "model.save('….keras') writes."
            )
        config = read_member(archive, _CONFIG, path, ARCHITECTURE)
        metadata = {}
        if "metadata.json" in names:
            metadata = read_json(
                read_member(archive, "metadata.json", path, ARCHITECTURE), "metadata.json", path
            )
        version = str(metadata.get("keras_version", "3"))
        if _WEIGHTS not in names:
            raise InvalidInputError(
                f"{path} must hold its weights as {_WEIGHTS}. It has: {', '.join(names)[:300]}."
            )
        weights = read_member(archive, _WEIGHTS, path)
    check_heaps(weights, f"the weights in {path}")
    _check_weights(io.BytesIO(weights), path)
    architecture, training = read_architecture(config, _CONFIG, path)
    if version.startswith("3"):
        return StoredModel(path, architecture, version, training, native=path, by_layer=False)
    return StoredModel(
        path, architecture, version, training, lambda model: _assign_archived(model, weights, path)
    )


def read_unpacked(folder: Path) -> StoredModel:
    """Read what ``model.save(…, zipped=False)`` of Keras 3 writes: a .keras file as a folder.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    InvalidInputError
        It holds no model.
    """
    architecture, training = read_architecture(
        read_bytes(folder / _CONFIG, ARCHITECTURE), _CONFIG, folder
    )
    weights = folder / _WEIGHTS
    if weights.exists():
        require_regular(weights)
        check_heaps(weights, folder)
        _check_weights(weights, folder)
    return StoredModel(folder, architecture, "3", training, native=folder, by_layer=False)


def _check_weights(file: Any, path: Path) -> None:
    """Refuse weights that are elsewhere, or far larger than what is stored of them."""
    import h5py

    try:
        with h5py.File(file, "r") as held:
            check_datasets(held, f"the weights in {path}")
    except OSError as error:
        raise InvalidInputError(f"the weights in {path} cannot be read as HDF5: {error}") from error


def _assign_archived(model: Any, weights: bytes, path: Path) -> None:
    """Give a model the weights of an archive of Keras 2, in the layout of Keras 3."""
    import h5py

    held = io.BytesIO(weights)
    try:
        with h5py.File(held, "r+") as file:
            _rename(file)
    except OSError as error:
        raise InvalidInputError(f"the weights in {path} cannot be read as HDF5: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / _WEIGHTS
        file.write_bytes(held.getvalue())
        assign_stored_weights(model, file, path)


def _rename(group: Any) -> None:
    """Call the layers of a model by the name that they have since Keras 2.14."""
    former = "_layer_checkpoint_dependencies"
    if former in group:
        group.move(former, "layers")
    for each in list(group.values()):
        if hasattr(each, "keys"):
            _rename(each)


def assign_stored_weights(model: Any, weights: Path, source: Path) -> None:
    """Give a model weights that are stored in the layout of Keras 3.

    Parameters
    ----------
    model
        The model.
    weights
        The .weights.h5 file.
    source
        The file that the user named, for messages.

    Raises
    ------
    InvalidInputError
        They are not the weights of this model.
    """
    try:
        model.load_weights(weights)
    except Exception as error:  # Keras raises whatever a file provokes
        said = " ".join(str(error).split())[:300]
        raise InvalidInputError(
            f"{source}: the weights are not those of the architecture. Keras says: {said}"
        ) from error
