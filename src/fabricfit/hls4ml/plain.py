"""A configuration of hls4ml as plain data, whatever it was given as."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fabricfit.description.precision import Precision, write_precision
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.hls4ml.vocabulary import MODELS
from fabricfit.reading import LARGE_CONFIGURATION, parse_json, parse_yaml, plain_loader, read_text

__all__ = ["PROJECT_FILE", "ConfigurationLike", "plain_configuration"]


class ConvertedModel(Protocol):
    """What hls4ml has converted a model to: its ``ModelGraph``."""

    config: Any


ConfigurationLike = Mapping[str, Any] | str | os.PathLike[str] | ConvertedModel
"""What callers may pass as hls4ml's configuration: the data, a file of them, the folder of a project, or the
``ModelGraph`` that hls4ml has converted a model to."""

PROJECT_FILE = "hls4ml_config.yml"
"""What hls4ml calls the configuration in the folder of a project."""

_TYPES = "tag:yaml.org,2002:python/object:hls4ml."
_MODES = "tag:yaml.org,2002:python/object/apply:hls4ml."
_ROUNDINGS = ("", "TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
_SATURATIONS = ("", "WRAP", "SAT", "SAT_ZERO", "SAT_SYM")
"""Numbers of hls4ml's modes -> their names."""


def plain_configuration(config: ConfigurationLike) -> dict[str, Any]:
    """Return a configuration as dictionaries, lists, texts and numbers: a copy, which JSON can hold.

    NumPy's numbers become Python's, precision objects and enumerations become texts, tuples become lists,
    paths become texts. A model in a project's configuration is left out, and so is a section without content.

    Parameters
    ----------
    config
        A dictionary; or the name of a file, ``.json`` or YAML, ``hls4ml_config.yml`` of a project for
        example; or the project's folder; or hls4ml's ``ModelGraph``.

    Raises
    ------
    InvalidTypeError
        It, or a section, is no dictionary; or it holds an object that no file could.
    InvalidInputError
        The file cannot be read.
    """
    if isinstance(config, (str, os.PathLike)):
        config = _read_file(Path(config))
    elif type(config).__name__ == "ModelGraph" and type(config).__module__.startswith("hls4ml."):
        config = getattr(config, "config").config  # noqa: B009 - of a class that is not imported here
    if not isinstance(config, Mapping):
        raise InvalidTypeError(
            "the hls4ml configuration must be a dictionary, as hls4ml.utils.config_from_keras_model "
            f"returns it, or a file of it. Received: {spell(config)}"
        )
    kept = {key: value for key, value in config.items() if key not in MODELS}
    plain: dict[str, Any] = _plain(kept, "config")
    inner = plain
    if "HLSConfig" in plain:
        inner = plain["HLSConfig"] = _section(plain["HLSConfig"], "config['HLSConfig']")
    if inner.get("Model") is not None:
        inner["Model"] = _section(inner["Model"], "config['Model']")
    for kind in ("LayerName", "LayerType"):
        if kind in inner:
            found = _section(inner[kind], f"config[{kind!r}]")
            inner[kind] = {
                key: _section(value, f"config[{kind!r}][{key!r}]") for key, value in found.items()
            }
    return plain


def _section(value: Any, where: str) -> dict[str, Any]:
    """Return a section, an empty one where nothing stands there."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidTypeError(f"{where} must be a dictionary. Received: {spell(value)}")
    return value


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {_plain_key(k, where): _plain(each, f"{where}[{k!r}]") for k, each in value.items()}
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each, f"{where}[{n}]") for n, each in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Precision):
        try:
            return write_precision(value)
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}: {error}") from None
    raise InvalidTypeError(
        f"{where} must be a number, a text, a list or a dictionary, or one of hls4ml's precision types. "
        f"Received: {spell(value)}"
    )


def _plain_key(key: Any, where: str) -> str:
    if isinstance(key, Enum):
        key = key.value if isinstance(key.value, str) else key.name
    if isinstance(key, str):
        return str(key)
    raise InvalidTypeError(f"the keys of {where} must be texts. Received: {spell(key)}")


def _read_file(path: Path) -> Any:
    """Return what a file holds, or the configuration in the folder of a project."""
    if path.is_dir():
        path /= PROJECT_FILE
    if not path.exists():
        raise InvalidInputError(
            "the hls4ml configuration must be a dictionary, a file of it, or the folder of a project; "
            f"there is no file {str(path)!r}."
        )
    try:
        text = read_text(path, LARGE_CONFIGURATION)
        return parse_json(text, str(path)) if path.suffix == ".json" else _read_yaml(text, path)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{path} cannot be read as an hls4ml configuration: {error}"
        ) from error


def _read_yaml(text: str, path: Path) -> Any:
    """Return what YAML holds, with hls4ml's own objects in it, none of which is made."""

    def read_type(loader: Any, kind: str, node: Any) -> Any:
        return _spell_type(kind.rpartition(".")[2], loader.construct_mapping(node, deep=True))

    def read_mode(loader: Any, kind: str, node: Any) -> str:
        number = int(loader.construct_sequence(node)[0])
        return (_ROUNDINGS if "Rounding" in kind else _SATURATIONS)[number]

    loader = plain_loader()
    loader.add_multi_constructor("!keras_model", lambda loader, suffix, node: None)
    loader.add_multi_constructor(_TYPES, read_type)
    loader.add_multi_constructor(_MODES, read_mode)
    loader.add_constructor(
        "tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node)
    )
    return parse_yaml(text, str(path), loader)[0]


def _spell_type(kind: str, state: Mapping[str, Any]) -> str:
    """Return the text of a precision type of hls4ml, given what is stored in its object."""
    values = {str(key).lstrip("_"): value for key, value in state.items()}
    sign = "" if values.get("signed", True) else "u"
    width = values.get("width", 1)
    if "Float" in kind:
        return {16: "half", 64: "double"}.get(width, "float")
    if "Fixed" not in kind:
        return f"{sign}int<{width}>"
    modes = [values.get("rounding_mode") or "TRN", values.get("saturation_mode") or "WRAP"]
    bits = int(values.get("saturation_bits") or 0)
    return f"{sign}fixed<{width},{values['integer']},{','.join(modes)},{bits}>"
