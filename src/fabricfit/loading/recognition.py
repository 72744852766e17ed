"""What a file or folder of a model holds, by its first bytes rather than by its name; Keras is not needed."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fabricfit.errors import InvalidInputError
from fabricfit.loading import project
from fabricfit.loading.foreign import refuse_foreign
from fabricfit.reading import is_there, require_regular

__all__ = ["Recognized", "find_weights", "recognize"]

_MAGIC = {"hdf5": b"\x89HDF\r\n\x1a\n", "zip": b"PK\x03\x04"}

_BESIDE = ("{}_weights.h5", "{}.weights.h5", "{}.h5")


@dataclass(frozen=True)
class Recognized:
    """What a model is to be read from.

    Parameters
    ----------
    kind
        The format.
    path
        The file or folder that holds it.
    weights
        The file of its weights, where it is named.
    """

    kind: Literal["archive", "unpacked", "hdf5", "json", "saved_model"]
    path: Path
    weights: Path | None = None


def recognize(path: Path, weights: Path | None = None) -> Recognized:
    """Return what is to be read of a model, and from where.

    Parameters
    ----------
    path
        The file or folder.
    weights
        The file of weights of an architecture in ``.json``, if it is named.

    Raises
    ------
    InvalidInputError
        There is no such file, or it holds no model that can be read.
    """
    if not is_there(path):
        raise InvalidInputError(
            f"there is no model at {path}. Save one with model.save('….keras')."
        )
    ending = path.suffix.lower()
    if weights is not None and ending != ".json":
        raise InvalidInputError(
            f"weights are given for an architecture in a .json file. Received: {path} and {weights}"
        )
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return Recognized("saved_model", path)
        if (path / "config.json").is_file():
            return Recognized("unpacked", path)
        return recognize(project.find_model(path))
    require_regular(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    if start == _MAGIC["hdf5"]:
        return Recognized("hdf5", path)
    refuse_foreign(path, start)
    if start.startswith(_MAGIC["zip"]) and zipfile.is_zipfile(path):
        return Recognized("archive", path)
    if ending == ".json":
        return Recognized("json", path, weights)
    if ending in (".yml", ".yaml"):
        return recognize(*project.find_parts(path))
    if path.name == "saved_model.pb":
        return Recognized("saved_model", path.parent)
    raise InvalidInputError(
        "a model must be a .keras or .h5 file, a .json file with weights beside it, a SavedModel "
        f"folder or a project of hls4ml. Received: {path}, which holds none of them"
    )


def find_weights(path: Path, weights: Path | None = None) -> Path:
    """Return the file of the weights of an architecture.

    Parameters
    ----------
    path
        The ``.json`` file of the architecture.
    weights
        The file that is named; by default one beside it.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    beside = [path.with_name(name.format(path.stem)) for name in _BESIDE]
    for each in beside if weights is None else [weights]:
        if is_there(each) and each.is_file():
            return each
    if weights is not None:
        raise InvalidInputError(f"there are no weights at {weights}.")
    raise InvalidInputError(
        f"{path} is an architecture without weights. Put them beside it, as {beside[0].name}, "
        f"{beside[1].name} or {beside[2].name}; or name both in an hls4ml configuration, as "
        "KerasJson and KerasH5; or name them: weights=… in Python, --weights on the command line."
    )
