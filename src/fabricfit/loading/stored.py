"""What a file holds of a model, before anything is built of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.reading import parse_json

__all__ = [
    "StoredModel",
    "described_objects",
    "parse_architecture",
    "read_architecture",
    "read_json",
]


@dataclass(frozen=True)
class StoredModel:
    """A model as a file describes it.

    Parameters
    ----------
    source
        The file or folder, as messages name it.
    config
        The architecture: class and configuration.
    version
        The version of Keras that wrote it; '' if it is not said.
    training
        What it was compiled with, as Keras wrote it; None if it was not.
    assign
        Gives the weights to a model that was built of the architecture.
    native
        The file, where Keras 3 wrote it whole: Keras loads it itself.
    by_layer
        Whether the weights are stored layer by layer, so that ``assign`` gives them to a model that was built
        otherwise than by Keras itself.
    """

    source: Path
    config: dict[str, Any]
    version: str
    training: Mapping[str, Any] | None = None
    assign: Callable[[Any], None] = lambda model: None
    native: Path | None = None
    by_layer: bool = True

    @property
    def of_keras_2(self) -> bool:
        """Whether the configuration is written in the words of Keras 2."""
        return self.version.startswith("2")


def read_json(text: str | bytes, what: str, source: Path | str) -> Any:
    """Decode JSON as Keras writes it, with tuples and shapes as lists.

    Parameters
    ----------
    text
        The JSON.
    what
        What it is, for messages.
    source
        Where it was read, for messages.

    Raises
    ------
    InvalidInputError
        It is no JSON, or too large: see :mod:`fabricfit.reading`.
    """

    def decode(value: dict[str, Any]) -> Any:
        if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
            return value["items"]
        return value

    # Options of layers may be infinite: the largest value of a rectifier.
    return parse_json(text, f"{what} in {source}", finite=False, each_object=decode)


def read_architecture(text: str | bytes, what: str, source: Path) -> tuple[dict[str, Any], Any]:
    """Return the architecture of a model, and what it was compiled with if that is beside it.

    Parameters
    ----------
    text, what, source
        As for :func:`read_json`.

    Raises
    ------
    InvalidInputError
        It is no JSON, or no architecture of a Keras model.
    """
    config = parse_architecture(read_json(text, what, source), source)
    return config, config.pop("compile_config", None)


def parse_architecture(found: Any, source: Path) -> dict[str, Any]:
    """Return the architecture of a model, checked.

    Parameters
    ----------
    found
        What was read.
    source
        Where it was read, for messages.

    Raises
    ------
    InvalidInputError
        It is no architecture of a Keras model.
    """
    config = found.get("config") if isinstance(found, dict) else None
    if not isinstance(config, dict | list) or not isinstance(found.get("class_name"), str):
        raise InvalidInputError(
            f"{source} must describe a Keras model, by a class_name and a config. Received: "
            f"{str(found)[:100]}"
        )
    return dict(found)


def described_objects(
    value: Any, layer: str = "", key: str = ""
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield every object that a configuration describes.

    Parameters
    ----------
    value
        A part of the configuration.
    layer
        The name of the innermost layer around it.
    key
        The option whose value it is.

    Yields
    ------
    tuple
        The object's own dictionary, the layer that it is or is in, and the option whose value it is.
    """
    if isinstance(value, dict):
        inner = value.get("config")
        if "class_name" in value:
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                layer = inner["name"]
            yield value, layer, key
        for name, each in value.items():
            yield from described_objects(each, layer, name)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from described_objects(each, layer, key)
