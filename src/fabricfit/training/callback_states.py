"""States of the caller's callbacks: read for a checkpoint, and given back to those of a resumed run.

A callback that has ``get_state`` and ``set_state`` is asked. Of any other, the state is its attributes, as
far as they are numbers, texts, arrays, tensors, random generators and containers of these; functions, classes
and schedules are taken to stay as they are. What else there is cannot be read.
"""

from __future__ import annotations

import functools
import types
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

__all__ = ["CallbackStates", "only_watches"]

_WATCHERS = frozenset(
    {
        "BackupAndRestore",
        "CSVLogger",
        "History",
        "ModelCheckpoint",
        "OrbaxCheckpoint",
        "ProgbarLogger",
        "RemoteMonitor",
        "TensorBoard",
        "TerminateOnNaN",
    }
)
"""Keras' callbacks that change nothing in the training that they see."""

_WATCHING_PACKAGES = frozenset(
    {"aim", "clearml", "comet_ml", "dvclive", "mlflow", "neptune", "swanlab", "tqdm", "wandb"}
)
"""Packages whose callbacks write down what they see."""

_NOT_OWN = frozenset({"_model", "params", "validation_data"})
"""Attributes that Keras gives a callback, anew for each training."""

_FIXED = ["fixed"]
"""Stands for a value that stays as it is."""

_PLAIN = (bool, int, float, str, type(None))
_CONTAINERS: dict[str, type] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}


class _UnreadableError(Exception):
    """A value that cannot be written down."""


def only_watches(callback: Any) -> bool:
    """Whether a callback changes nothing in the training: it says so by ``only_watches``, or is known to."""
    if getattr(callback, "only_watches", False) is True:
        return True
    package = type(callback).__module__.partition(".")[0]
    return package in _WATCHING_PACKAGES or (
        package == "keras" and type(callback).__name__ in _WATCHERS
    )


class CallbackStates:
    """States of callbacks.

    Parameters
    ----------
    callbacks
        The caller's.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        numbers: Counter[str] = Counter()
        self._callbacks: dict[str, keras.callbacks.Callback] = {}
        for callback in callbacks:  # by class, since those that only watch may come and go
            kind = type(callback).__qualname__
            self._callbacks[f"{kind} {numbers[kind]}"] = callback
            numbers[kind] += 1

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names of the classes whose present state cannot be read, of those that may change training."""
        return self.list_lost(self.pack())

    def pack(self) -> dict[str, Any]:
        """Return the states as plain values and arrays; None for one that cannot be read."""
        return {name: _read_state(each) for name, each in self._callbacks.items()}

    def list_lost(self, states: Mapping[str, Any]) -> tuple[str, ...]:
        """Return names of the classes whose states were not read, of those that may change training."""
        found = [
            type(each).__name__
            for name, each in self._callbacks.items()
            if states.get(name) is None and not only_watches(each)
        ]
        return tuple(dict.fromkeys(found))

    def restore(self, states: Mapping[str, Any]) -> None:
        """Give callbacks the states that :meth:`pack` has read; those that could not be read stay."""
        for name, callback in self._callbacks.items():
            if states.get(name) is not None:
                _write_state(callback, states[name])


def _read_state(callback: Any) -> dict[str, Any] | None:
    try:
        if _has_protocol(callback):
            told = {"told": _encode(callback.get_state())}
        else:
            own = {name: each for name, each in vars(callback).items() if name not in _NOT_OWN}
            told = {"attributes": {name: _encode(each) for name, each in own.items()}}
    except (_UnreadableError, RecursionError):
        return None
    return told


def _write_state(callback: Any, state: dict[str, Any]) -> None:
    if "told" in state:
        callback.set_state(_decode(state["told"]))
        return
    attributes = state["attributes"]
    for name in set(vars(callback)) - set(attributes) - _NOT_OWN:
        delattr(callback, name)
    for name, value in attributes.items():
        if value != _FIXED:
            vars(callback)[name] = _decode(value)


def _has_protocol(callback: Any) -> bool:
    return callable(getattr(callback, "get_state", None)) and callable(
        getattr(callback, "set_state", None)
    )


def _encode(value: Any) -> Any:
    """Return a value as what a checkpoint holds: plain, or a list of its kind and its parts."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return ["array", value]
    if isinstance(value, np.generic):
        return ["number", np.asarray(value)]
    if isinstance(value, np.random.Generator):
        inner = value.bit_generator
        return ["generator", type(inner).__name__, _encode(dict(inner.state))]
    for kind, known in _CONTAINERS.items():
        if type(value) is known and isinstance(value, Collection):
            extra = [value.maxlen] if isinstance(value, deque) else []
            if type(value) is tuple and _stays(value) and not _is_plain(value):
                return _FIXED
            return [kind, _encode_parts(value), *extra]
    if type(value) is dict:
        return ["dict", _encode_parts(value.keys()), _encode_parts(value.values())]
    if isinstance(value, keras.Variable):
        raise _UnreadableError
    if keras.ops.is_tensor(value):
        return ["tensor", np.array(keras.ops.convert_to_numpy(value))]
    if _stays(value):
        return _FIXED
    raise _UnreadableError


def _is_plain(value: Any) -> bool:
    """Whether a tuple holds nothing but numbers and texts, in tuples or not."""
    return type(value) in _PLAIN or (type(value) is tuple and all(map(_is_plain, value)))


def _encode_parts(values: Iterable[Any]) -> list[Any]:
    """Return what a container holds; a function in one that may change cannot be written down."""
    found = [_encode(each) for each in values]
    if any(each == _FIXED for each in found):
        raise _UnreadableError
    return found


def _stays(value: Any) -> bool:
    """Whether nothing changes a value: a function over such values, a class, a schedule, a path."""
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return all(map(_stays, (*cells, *defaults)))
    if isinstance(value, functools.partial):
        return all(map(_stays, (value.func, *value.args, *value.keywords.values())))
    if type(value) is tuple:
        return all(map(_stays, value))
    constant = (
        *_PLAIN, type, types.ModuleType, types.BuiltinFunctionType, np.ufunc, Path, bytes, complex,
        keras.optimizers.schedules.LearningRateSchedule,
    )  # fmt: skip
    return isinstance(value, constant)


def _decode(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    kind, *parts = value
    if kind in ("array", "number", "tensor"):
        if kind == "tensor":
            return keras.ops.convert_to_tensor(parts[0])
        return np.array(parts[0]) if kind == "array" else parts[0][()]
    if kind == "generator":
        inner = getattr(np.random, parts[0])()
        inner.state = _decode(parts[1])
        return np.random.Generator(inner)
    if kind == "dict":
        return dict(zip(map(_decode, parts[0]), map(_decode, parts[1]), strict=True))
    items = [_decode(each) for each in parts[0]]
    if kind == "deque":
        return deque(items, maxlen=parts[1])
    return _CONTAINERS[kind](items)
