"""Results of a run that another one of the same model and data can start from."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.losses import is_builtin
from fabricfit.network.copying import every_layer, stand_ins
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.samples import Data, Dataset
from fabricfit.training.strengths import TunedStrengths, regularized_layers

__all__ = ["Start", "fingerprint", "plain_setting"]

_DECISIVE_FOR_TUNING = (
    "batch_size",
    "epochs",
    "optimizer",
    "loss_fn",
    "loss_weights",
    "class_weight",
    "validation_metric",
    "increasing",
    "tuner",
    "regularization_range",
    "trials",
    "seed",
)
_READ_AT_ENDS = 1024
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Start:
    """Regularization strengths and weights that do not depend on a run's target.

    Parameters
    ----------
    fingerprint
        What it belongs to: see :func:`fingerprint`.
    tuned
        The strengths that were chosen, and the weights that were trained with them.
    weights
        Weights of the highest level that was good, as they were trained; None if none was.
    metric
        The validation metric of that level.
    """

    fingerprint: Mapping[str, Any]
    tuned: TunedStrengths
    weights: list[np.ndarray] | None
    metric: float

    def check(self, other: Mapping[str, Any]) -> None:
        """Refuse to serve a run that is not of the same model, data and settings.

        Raises
        ------
        InvalidInputError
            Names what differs.
        """
        differing = [name for name, value in other.items() if self.fingerprint.get(name) != value]
        if differing:
            raise InvalidInputError(
                "reuse must be the result of a run of the same model, data and settings. It differs in: "
                f"{', '.join(differing)}. Start without it."
            )


def fingerprint(
    model: keras.Model,
    attributes: Mapping[str, LayerAttributes],
    data: Dataset,
    validation: Dataset,
    settings: OptimizationSettings,
) -> dict[str, Any]:
    """Return what identifies runs that can begin alike: name -> something to compare."""
    weights = [np.asarray(keras.ops.convert_to_numpy(v)) for v in model.variables]
    return {
        "the model": (_describe_model(model), _compute_checksum(weights)),
        "the layers that take part": regularized_layers(attributes),
        "the training data": _describe_data(data),
        "the validation data": _describe_data(validation),
        **{name: plain_setting(getattr(settings, name)) for name in _DECISIVE_FOR_TUNING},
    }


def _describe_model(model: keras.Model) -> str:
    """Return the model's configuration, without the numbers that Keras gives layers without weights."""
    with stand_ins(model, _name_object):
        text: str = model.to_json()
    for layer in every_layer(model):
        if not layer.weights:
            plain = re.sub(r"_\d+$", "", layer.name)
            text = text.replace(json.dumps(layer.name), json.dumps(plain))
    return text


def _name_object(value: Any) -> str:
    """Return a name for a function or an object of the user's own that tells it from others."""
    code = getattr(value, "__code__", None)
    if code is None:
        known = repr((type(value).__qualname__, getattr(value, "__dict__", None)))
    else:
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        known = repr((code.co_code, code.co_consts, cells, value.__defaults__))
    name = getattr(value, "__name__", type(value).__name__)
    return f"{name}_{zlib.crc32(_ADDRESS.sub('', known).encode())}"


def _describe_data(data: Dataset) -> Any:
    if data.size is None:
        return type(data).__name__  # a stream's samples cannot be compared without reading them all
    if not isinstance(data, Data):  # a file's, at equal distances
        few = data.arrays(_READ_AT_ENDS)
        return data.size, _describe_data(few)
    arrays = keras.tree.flatten((data.X, data.y))
    if not data.resident:
        arrays = [part for a in arrays for part in (a[:_READ_AT_ENDS], a[-_READ_AT_ENDS:])]
    shapes = tuple((array.shape, str(array.dtype)) for array in arrays)
    return len(data), shapes, _compute_checksum(arrays)


def _compute_checksum(arrays: list[np.ndarray]) -> int:
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return total


def plain_setting(value: Any) -> Any:
    """Turn a setting into something that is equal for equal settings."""
    if isinstance(value, Mapping):
        return {str(key): plain_setting(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [plain_setting(each) for each in value]
    if hasattr(value, "get_config") and is_builtin(value):
        config = {key: each for key, each in value.get_config().items() if key != "name"}
        return type(value).__name__, str(config)
    if isinstance(value, np.ndarray):
        return value.shape, _compute_checksum([value])
    own = callable(value) or isinstance(value, keras.losses.Loss | keras.metrics.Metric)
    if own and not isinstance(value, type):
        return _name_object(value)
    return getattr(value, "__qualname__", str(value))
