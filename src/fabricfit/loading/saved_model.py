"""SavedModel folders of Keras 2: the architecture in their metadata, the weights in their checkpoint."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError, require
from fabricfit.loading.keras2_graph import without_slashes
from fabricfit.loading.stored import StoredModel, parse_architecture, read_json
from fabricfit.loading.weights import assign_weights
from fabricfit.reading import ARCHITECTURE, read_bytes

__all__ = ["read_saved_model"]

_LONGEST_NUMBER = 64
"""Bits of a number in a protocol buffer."""
_METADATA = "keras_metadata.pb"


def read_saved_model(folder: Path) -> StoredModel:
    """Read a SavedModel, without running its graph.

    Parameters
    ----------
    folder
        The folder with ``saved_model.pb``.

    Raises
    ------
    InvalidInputError
        It holds no architecture of Keras.
    MissingExtraError
        TensorFlow, whose format the weights are in, is not installed.
    """
    require("tensorflow", "tensorflow", f"reading the SavedModel {folder}")
    reading = importlib.import_module("fabricfit.loading._tensorflow")
    held = reading.SavedModelFiles(folder)
    nodes = (
        _read_metadata(folder / _METADATA) if (folder / _METADATA).is_file() else held.metadata()
    )
    root = nodes.get(0)
    if root is None or not isinstance(root.get("config"), dict) or "layers" not in root["config"]:
        raise InvalidInputError(
            f"{folder} is a SavedModel without the architecture of a Keras model, such as "
            "model.export writes, or of a subclassed model: it holds a graph of TensorFlow only. "
            "Save the model with model.save('….keras') where it was made, or build it of layers "
            "of Keras and copy the weights."
        )
    config = parse_architecture(
        {key: root[key] for key in ("class_name", "config") if key in root}, folder
    )
    version = "2"
    names = {each["name"]: node for node, each in _layers(nodes)}
    weights = {name: held.weights(node) for name, node in names.items()}

    def assign(model: Any) -> None:
        own = {layer.name for layer in model.layers}
        kept = {name: each for name, each in weights.items() if without_slashes(name) in own}
        assign_weights(model, kept, folder)

    return StoredModel(folder, config, version, root.get("training_config"), assign)


def _layers(nodes: dict[int, dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the layers that are described, those inside others last, so that outer ones go before."""
    for node, each in sorted(nodes.items(), reverse=True):
        if node and isinstance(each.get("name"), str):
            yield node, each


def _read_metadata(path: Path) -> dict[int, dict[str, Any]]:
    """Read what Keras wrote beside the graph: a list of nodes, each a number and JSON."""
    found = {}
    try:
        for number, message in _fields(read_bytes(path, ARCHITECTURE)):
            if number == 1:
                fields = dict(_fields(message))
                described = read_json(fields.get(5, b"{}"), "an object", path)
                if isinstance(described, dict):
                    found[int(fields.get(2, 0))] = described
    except InvalidInputError:
        raise
    except (IndexError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as the metadata of Keras: {error}"
        ) from error
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a protocol buffer's message: numbers, and bytes."""
    place = 0

    def read_number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > _LONGEST_NUMBER:
                raise ValueError("a number without end")

    while place < len(data):
        key = read_number()
        match key & 7:
            case 0:
                yield key >> 3, read_number()
            case 1:
                place += 8
            case 2:
                size = read_number()
                yield key >> 3, data[place : place + size]
                place += size
            case 5:
                place += 4
            case kind:
                raise ValueError(f"unknown kind of field {kind}")
