"""Identity of a run: what must be the same of model, data and settings for it to be resumed, or reused."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import types
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.losses import is_builtin
from fabricfit.network.copying import every_layer, stand_ins
from fabricfit.optimization.settings import OptimizationSettings
from fabricfit.samples import Data, Dataset
from fabricfit.training.callback_states import only_watches
from fabricfit.training.strengths import regularized_layers

__all__ = ["describe_callbacks", "fingerprint", "plain_setting", "read_beginning"]

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
_READ_OF_STREAMS = 256
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


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


def plain_setting(value: Any) -> Any:
    """Turn a setting into something that is equal for equal settings.

    Functions are compared by their code, what it refers to, closure and defaults; objects of classes of the
    user's own also by the code of their methods.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_setting(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [plain_setting(each) for each in value]
    if hasattr(value, "get_config") and is_builtin(value):
        config = {key: each for key, each in value.get_config().items() if key != "name"}
        hidden = getattr(value, "_fn_kwargs", None)  # of losses and metrics, which leave them out
        return type(value).__name__, str(config), str(_describe(hidden))
    if isinstance(value, np.ndarray):
        return value.shape, _compute_checksum([value])
    own = callable(value) or isinstance(value, keras.losses.Loss | keras.metrics.Metric)
    if own and not isinstance(value, type):
        return _name_object(value)
    return getattr(value, "__qualname__", str(value))


def describe_callbacks(callbacks: Sequence[Any]) -> list[Any]:
    """Return what identifies callbacks that may change training: how they were made, and their code.

    Of attributes, which change as training goes on, those count that are arguments of the constructor.
    """
    found = []
    for callback in callbacks:
        if only_watches(callback):
            continue
        kind, own = type(callback), vars(callback)
        made = {
            name: abs(each) if isinstance(each, float) else _describe(each)  # Keras flips signs
            for name, each in own.items()
            if name in _list_arguments(kind) and name != "verbose"
        }
        functions = {name: _describe(each) for name, each in own.items() if _is_function(each)}
        found.append([_describe_class(kind), made, {**functions, "monitor_op": None}])
    return found


def read_beginning(data: Dataset) -> str:
    """Return a checksum of the first samples that a stream makes; ``''`` for what is no stream."""
    if data.size is not None:
        return ""
    few = data.head(_READ_OF_STREAMS)
    return hashlib.sha256(repr(_describe_data(few)).encode()).hexdigest()[:16]


def _describe_model(model: keras.Model) -> str:
    """Return the model's configuration, without the numbers that Keras gives layers without weights."""
    with stand_ins(model, _name_object):
        text: str = model.to_json()
    for layer in every_layer(model):
        if not layer.weights:
            plain = re.sub(r"_\d+$", "", layer.name)
            text = text.replace(json.dumps(layer.name), json.dumps(plain))
    return text


def _describe_data(data: Dataset) -> Any:
    if data.size is None:
        few = data.head(_READ_OF_STREAMS)
        data.end_pass()
        again = data.head(_READ_OF_STREAMS)
        first, second = _describe_data(few), _describe_data(again)
        if first == second:
            return type(data).__name__, first
        forms = [(a.shape[1:], str(a.dtype)) for a in keras.tree.flatten((few.X, few.y))]
        return type(data).__name__, forms  # it shuffles, and no two passes are alike
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


def _name_object(value: Any) -> str:
    """Return a name for a function or an object of the user's own that tells it from others."""
    name = getattr(value, "__name__", type(value).__name__)
    return f"{name}_{hashlib.sha256(repr(_describe(value)).encode()).hexdigest()[:16]}"


def _describe(value: Any, depth: int = 0) -> Any:
    """Return nested plain values that are equal for things that do the same, as far as can be seen."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), value.shape, zlib.crc32(np.ascontiguousarray(value).tobytes())
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_describe(each, depth + 1) for each in value] if depth < _DEEPEST else []
        unordered = isinstance(value, set | frozenset)
        return type(value).__name__, sorted(map(repr, parts)) if unordered else parts
    if isinstance(value, Mapping):
        return [(str(key), _describe(each, depth + 1)) for key, each in value.items()]
    if _is_function(value):
        return _describe_function(value, depth)
    if isinstance(value, type):
        return _describe_class(value)
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        return type(value).__name__, tuple(value.shape)
    if depth >= _DEEPEST or is_builtin(value):
        config = value.get_config() if hasattr(value, "get_config") else None
        return type(value).__qualname__, str(config)
    own = getattr(value, "__dict__", {}).items()
    state = {name: each for name, each in own if name[:1] != "_" and name != "name"}
    return _describe_class(type(value)), _describe(state, depth + 1)


_DEEPEST = 6
"""Functions in closures of functions, and so on, that are looked at."""


def _is_function(value: Any) -> bool:
    return isinstance(value, types.FunctionType | types.MethodType | functools.partial)


def _describe_function(value: Any, depth: int) -> Any:
    if isinstance(value, functools.partial):
        return [_describe(each, depth + 1) for each in (value.func, value.args, value.keywords)]
    if isinstance(value, types.MethodType):
        return [_describe(value.__func__, depth + 1), _describe(value.__self__, depth + 1)]
    if depth >= _DEEPEST or not _is_own(value):
        return value.__module__, value.__qualname__
    cells = [_describe(cell.cell_contents, depth + 1) for cell in value.__closure__ or ()]
    defaults = _describe((value.__defaults__, value.__kwdefaults__), depth + 1)
    named = {name: value.__globals__.get(name) for name in _list_names(value.__code__)}
    used = {
        name: _describe(each, depth + 1)
        for name, each in named.items()
        if isinstance(each, (*_PLAIN, tuple, np.ndarray, types.FunctionType)) and each is not value
    }
    return _describe_code(value.__code__), cells, defaults, used


def _describe_class(kind: type) -> Any:
    """Return a class's name, and the code of the methods that are the user's own."""
    methods = [
        (name, _describe_code(each.__code__))
        for base in kind.__mro__
        if _is_own(base)
        for name, each in sorted(vars(base).items())
        if isinstance(each, types.FunctionType)
    ]
    return kind.__qualname__, methods


def _describe_code(code: types.CodeType) -> Any:
    constants = [
        _describe_code(each) if isinstance(each, types.CodeType) else repr(each)
        for each in code.co_consts
    ]
    return code.co_code, code.co_names, constants


def _list_names(code: types.CodeType) -> list[str]:
    """Return the names that a function's code looks up, that of functions within it too."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return [*code.co_names, *(name for each in inner for name in _list_names(each))]


def _list_arguments(kind: type) -> frozenset[str]:
    return frozenset(
        name
        for base in kind.__mro__
        if isinstance(made := vars(base).get("__init__"), types.FunctionType)
        for name in made.__code__.co_varnames[: made.__code__.co_argcount]
    )


def _is_own(value: Any) -> bool:
    """Whether code is the user's own, not that of a package whose version the manifest tells."""
    package = str(getattr(value, "__module__", "")).partition(".")[0]
    return package not in _PACKAGES


_PACKAGES = frozenset(
    {
        "builtins",
        "fabricfit",
        "hgq",
        "jax",
        "keras",
        "numpy",
        "qkeras",
        "scipy",
        "tensorflow",
        "torch",
    }
)
