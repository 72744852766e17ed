"""What is refused before anything is built: code in a file, and classes that nobody has declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.errors import InvalidInputError
from fabricfit.loading.stored import StoredModel, described_objects

__all__ = ["explain_unknown", "refuse_code", "refuse_unknown"]


def refuse_code(stored: StoredModel) -> None:
    """Refuse a file that holds Python code, such as that of a ``Lambda`` layer.

    Raises
    ------
    InvalidInputError
        It holds code.
    """
    for described, layer, key in described_objects(stored.config):
        kind, config = described["class_name"], described.get("config")
        code = kind == "__lambda__"
        if kind == "Lambda" and isinstance(config, dict):
            code = not isinstance(config.get("function"), str) and not _names_function(
                config.get("function")
            )
        if code:
            what = f"layer {layer!r}" if layer else "the model"
            option = "" if key in ("", "function", "layers") else f" in its {key}"
            raise InvalidInputError(
                f"{stored.source}: {what} holds the code of a Python function (a Lambda){option}, "
                "and code in a file is never run. Build the model with a layer of Keras in its "
                "place, such as Rescaling, Activation or Multiply, or with a class of your own "
                "that is registered with Keras; copy the weights with set_weights, and save it "
                "again."
            )


def _names_function(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "function"


def refuse_unknown(stored: StoredModel, objects: Mapping[str, Any]) -> None:
    """Refuse a file of Keras 3 with classes that neither Keras nor the caller knows.

    Raises
    ------
    InvalidInputError
        There is one.
    """
    for described, layer, _ in described_objects(stored.config):
        module, registered = described.get("module"), described.get("registered_name")
        if not registered or registered == "function":
            continue
        if isinstance(module, str) and module.split(".")[0] in ("keras", "builtins"):
            continue
        known = keras.saving.get_registered_object(registered, dict(objects))
        if known is None and described["class_name"] not in objects:
            raise explain_unknown(
                str(stored.source), described["class_name"], layer, module or registered
            )


def explain_unknown(source: str, kind: str, layer: str, module: str | None) -> InvalidInputError:
    """Build the error for a class that is not known.

    Parameters
    ----------
    source
        The file.
    kind
        The name of the class.
    layer
        The layer that is of the class, or has something of it.
    module
        The module or package that the file names; None if it names none.
    """
    origin = f" of {module!r}" if module else ""
    where = f"layer {layer!r} is, or has," if layer else "the model has"
    return InvalidInputError(
        f"{source}: {where} something of class {kind!r}{origin}, which Keras does not know. Import "
        "the module that defines and registers it first (on the command line with --plugin), or "
        f"pass custom_objects={{{kind!r}: …}}."
    )
