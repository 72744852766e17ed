"""Models and weights in HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.loading.stored import StoredModel, parse_architecture, read_json
from fabricfit.loading.weights import Weights, assign_weights, read_weights
from fabricfit.reading import check_datasets, check_heaps, require_regular

__all__ = ["read_model", "read_weight_file"]


def read_model(path: Path) -> StoredModel:
    """Read an HDF5 file in which Keras saved a whole model.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InvalidInputError
        It holds no model, or one of Keras 1 or of another backend's layout.
    """
    import h5py

    with _open(h5py, path) as file:
        config = _read_json(file, "model_config")
        if config is None:
            raise InvalidInputError(
                f"{path} holds weights and no architecture. Save the architecture beside it, with "
                f"model.to_json(), as {path.stem.removesuffix('_weights')}.json, and load that; or "
                "save the whole model."
            )
        version = _decode(file.attrs.get("keras_version", "")) or "1"
        if version.startswith("1"):
            raise InvalidInputError(
                f"{path} was written by Keras 1, whose layers Keras 3 does not know. Load it in Keras 2.2 or "
                "2.3, which convert it, and save it again."
            )
        training = _read_json(file, "training_config")
        found = parse_architecture(config, path)
        _check_layout(file, path)
        check_datasets(file, path)
        held = read_weights(file["model_weights"])
    native = path if version.startswith("3") else None
    return StoredModel(
        path, found, version, training, lambda model: assign_weights(model, held, path), native
    )


def read_weight_file(path: Path) -> Weights | None:
    """Read weights that Keras 2 wrote, without an architecture or with one.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Weights or None
        None, if the file is in the layout of Keras 3.

    Raises
    ------
    InvalidInputError
        It is no HDF5 file.
    """
    import h5py

    with _open(h5py, path) as file:
        check_datasets(file, path)
        group = file.get("model_weights", file)
        named = "layer_names" in group.attrs or "layer_names0" in group.attrs
        return read_weights(group) if named else None


def _open(h5py: Any, path: Path) -> Any:
    require_regular(path)
    check_heaps(path, path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read as an HDF5 file: {error}") from error


def _read_json(file: Any, name: str) -> Any:
    found = file.attrs.get(name)
    return None if found is None else read_json(found, f"the {name}", file.filename)


def _decode(value: Any) -> str:
    return value.decode("utf8") if isinstance(value, bytes) else str(value)


def _check_layout(file: Any, path: Path) -> None:
    """Refuse kernels that are stored in the order of Theano, which Keras 2 turned round."""
    backend = _decode(file.attrs.get("backend", "tensorflow"))
    if backend == "theano":
        raise InvalidInputError(
            f"{path} was written by Keras with Theano, which stored the kernels of convolutions "
            "turned round. Load it in Keras 2 with TensorFlow, which turns them, and save it "
            "again."
        )
