"""Loading a model, whatever wrote it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.checks import file_path, flag, mapping
from fabricfit.errors import FabricFitError, InvalidInputError
from fabricfit.loading import archive, hdf5, saved_model, written
from fabricfit.loading.compiled import compile_as_stored
from fabricfit.loading.keras2 import translate
from fabricfit.loading.packages import find_objects
from fabricfit.loading.recognition import Recognized, recognize
from fabricfit.loading.safety import refuse_code, refuse_unknown
from fabricfit.loading.stored import StoredModel
from fabricfit.network.translation import is_translated, translated

__all__ = ["load_model"]

_READERS = {
    "archive": archive.read_archive,
    "hdf5": hdf5.read_model,
    "saved_model": saved_model.read_saved_model,
    "unpacked": archive.read_unpacked,
}


def load_model(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    as_stored: bool = False,
) -> keras.Model:
    """Load a Keras model from whatever holds it; nothing in the file is run.

    Read are ``.keras`` and ``.h5`` files of Keras 3 and of Keras 2, an architecture in ``.json`` with its
    weights beside it, SavedModel folders of Keras 2, and projects of hls4ml. Layers of QKeras, HGQ2 and
    PQuantML are found by their names, and their packages imported. Those of PQuantML become layers of HGQ2
    and Keras that compute the same at inference. The model is compiled with the loss, the metrics and the
    optimizer that the file names, as far as Keras knows them; the optimizer starts anew.

    Parameters
    ----------
    path
        The file or folder.
    weights
        The file of weights of an architecture in ``.json``; by default ``name_weights.h5``,
        ``name.weights.h5`` or ``name.h5`` beside ``name.json``.
    custom_objects
        Name -> class or function, for what is neither Keras' own nor registered with it.
    as_stored
        Whether layers of PQuantML stay as they are, to be trained on with PQuantML.

    Returns
    -------
    keras.Model
        The model, with its weights.

    Raises
    ------
    InvalidInputError
        There is no such file; it holds no Keras model, or Python code, or layers that are not known, or a
        model that Keras 3 would compute otherwise, or layers of PQuantML that no others compute.
    MissingExtraError
        A package that the model needs is not installed.
    """
    place = file_path("path", path)
    given = None if weights is None else file_path("weights", weights)
    mapping("custom_objects", {} if custom_objects is None else custom_objects)
    flag("as_stored", as_stored)
    try:
        stored = _read(recognize(place, given))
        refuse_code(stored)
        objects = {**find_objects(stored), **(custom_objects or {})}
    except FabricFitError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        raise InvalidInputError(f"{place} cannot be read as a model: {_shorten(error)}") from error
    try:
        model = _build(stored, objects)
    except FabricFitError:
        raise
    except Exception as error:  # Keras raises whatever a file provokes
        written_by = f", written by Keras {stored.version}," if stored.version else ""
        raise InvalidInputError(
            f"{stored.source}{written_by} cannot be loaded as a Keras model. Keras says: {_shorten(error)}"
        ) from error
    if not model.layers:
        raise InvalidInputError(f"{stored.source} must hold a model with layers. It has none.")
    if not model.built:
        raise InvalidInputError(
            f"{stored.source}: the shape of the model's input is not in the file. Build the model with a "
            "keras.Input of that shape, load the weights and save it again."
        )
    if not as_stored and is_translated(model):
        model = translated(model)
    compile_as_stored(model, stored, objects)
    return model


def _read(found: Recognized) -> StoredModel:
    """Read what is to be loaded."""
    if found.kind == "json":
        return written.read_json(found.path, found.weights)
    return _READERS[found.kind](found.path)


def _build(stored: StoredModel, objects: Mapping[str, Any]) -> keras.Model:
    """Build a model of the architecture in a file, and give it its weights."""
    if not stored.of_keras_2:
        refuse_unknown(stored, objects)
    options: dict[str, Any] = {"custom_objects": dict(objects), "safe_mode": True}
    older = stored.of_keras_2
    if stored.native is not None:
        try:
            return keras.saving.load_model(str(stored.native), compile=False, **options)
        except Exception:
            if not stored.by_layer:
                raise
            older = True  # a file of Keras 2 may have been saved again, with options of then
    config = stored.config
    if older:
        known = options["custom_objects"] = {**_find_registered(), **objects}
        config = translate(config, str(stored.source), known, changed=stored.of_keras_2)
    model = keras.saving.deserialize_keras_object(config, **options)
    if not isinstance(model, keras.Model):
        raise InvalidInputError(
            f"{stored.source} must hold a model. Received: a {type(model).__name__}"
        )
    stored.assign(model)
    return model


def _find_registered() -> dict[str, Any]:
    """Return what is registered with Keras by the names without a package that Keras 2 wrote."""
    registered = keras.saving.get_custom_objects()
    plain = {name.rpartition(">")[2]: each for name, each in registered.items()}
    return {name: each for name, each in plain.items() if not hasattr(keras.layers, name)}


def _shorten(error: Exception) -> str:
    """Return what an error says at last, in a line."""
    said = str(error).rpartition("Exception encountered:")[2] or type(error).__name__
    return " ".join(said.split())[:400]
