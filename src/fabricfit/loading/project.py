"""Projects and configurations of hls4ml, which name the model that they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fabricfit.errors import InvalidInputError
from fabricfit.reading import LARGE_CONFIGURATION, parse_yaml, plain_loader, read_text

__all__ = ["find_model", "find_parts"]

_CONFIGURATION = "hls4ml_config.yml"
_SAVED = ("keras_model.keras", "keras_model.h5")


def find_model(folder: Path) -> Path:
    """Return the file in a folder that says where its model is.

    Parameters
    ----------
    folder
        A project of hls4ml.

    Raises
    ------
    InvalidInputError
        The folder is not one.
    """
    for name in (_CONFIGURATION, *_SAVED):
        if (folder / name).is_file():
            return folder / name
    raise InvalidInputError(
        f"{folder} is neither a SavedModel (there is no saved_model.pb in it) nor a project of "
        f"hls4ml (there is no {_CONFIGURATION}). Give the file of the model."
    )


def find_parts(path: Path) -> tuple[Path, Path | None]:
    """Return the model that a configuration of hls4ml names, and the file of its weights, if it has one.

    Parameters
    ----------
    path
        The configuration.

    Raises
    ------
    InvalidInputError
        It names no Keras model, or one that is not there.
    """
    config = _read_yaml(path)
    architecture, weights = (_find(path, config.get(key)) for key in ("KerasJson", "KerasH5"))
    if architecture is not None:
        return architecture, weights
    if weights is not None:
        return weights, None
    beside = [path.parent / name for name in _SAVED if (path.parent / name).is_file()]
    named = config.get("KerasModel")
    if beside and named is not None:
        return beside[0], None  # what hls4ml wrote, wherever the project was when it did
    if (model := _find(path, named)) is not None:
        return model, None
    other = next(
        (key for key in ("OnnxModel", "PytorchModel", "TensorFlowModel") if key in config), None
    )
    if other is not None and isinstance(config[other], str):
        found = _find(path, config[other])
        if found is not None:
            return found, None
    if beside:
        return beside[0], None
    what = f"it names {other}" if other else "it names none"
    raise InvalidInputError(
        f"{path} must name the Keras model, as KerasModel, KerasH5, or KerasJson with KerasH5: "
        f"{what}. Give the file of the model."
    )


def _find(path: Path, named: Any) -> Path | None:
    """Return a file that a configuration names: from its folder, the one around it, or the present one."""
    if not isinstance(named, str):
        return None
    folders = (path.parent, Path(), path.parent.parent)
    places = [*(each / named for each in folders), path.parent / Path(named).name]
    for each in places:
        if each.exists():
            return each
    raise InvalidInputError(
        f"{path} names {named}, which is not there. Looked for: {', '.join(map(str, places))}."
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration; what hls4ml tags as a model is its name."""

    def read_name(loader: Any, suffix: str, node: Any) -> Any:
        return node.value if isinstance(node.value, str) else None

    loader = plain_loader()
    loader.add_multi_constructor("!", read_name)
    found, _ = parse_yaml(read_text(path, LARGE_CONFIGURATION), str(path), loader)
    if not isinstance(found, dict):
        raise InvalidInputError(
            f"{path} must be a configuration of hls4ml. Received: {str(found)[:80]}"
        )
    return found
