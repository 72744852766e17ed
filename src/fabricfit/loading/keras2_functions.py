"""Calls of TensorFlow's functions in a graph of Keras 2, and layers of Keras that do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fabricfit.loading.keras2_graph import CONSTANT, is_end, name_of, without_slashes

__all__ = ["plain_names", "replace_function"]

_Made = tuple[str, dict[str, Any], list[Any]]
"""Class of a layer, its options and its inputs."""


def plain_names(layers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return names for what Keras 3 calls otherwise in a graph: without slashes, and functions without dots.

    Parameters
    ----------
    layers
        The layers of the graph, as Keras 2 wrote them.
    """
    every = [name_of(each) for each in layers]
    taken, found = set(every), {}
    for layer, name in zip(layers, every, strict=True):
        plain = without_slashes(name)
        if layer["class_name"] == "TFOpLambda":  # in C++, a name has no dots
            plain = plain.removeprefix("tf.").replace("__operators__.", "").replace(".", "_")
        if plain != name:
            while plain in taken:
                plain = f"{layer['class_name'].lower()}_{plain}"
            taken.add(plain)
            found[name] = plain
    return found


def replace_function(layer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a layer of Keras in the place of a call of a function, as Keras 2 would have written it.

    Parameters
    ----------
    layer
        The call, of class ``TFOpLambda``.

    Returns
    -------
    dict or None
        None, where no layer computes the same.
    """
    calls = layer.get("inbound_nodes", [])
    make = _FUNCTIONS.get(layer["config"].get("function", ""))
    if make is None or len(calls) != 1:
        return None
    ends = [calls[0]] if is_end(calls[0]) else list(calls[0])
    if not all(map(is_end, ends)):
        return None
    options = {key: each for key, each in (ends[-1][3:] or [{}])[0].items() if each is not None}
    made = make([end[:3] for end in ends], options)
    if made is None:
        return None
    kind, config, inputs = made
    shared = {key: layer["config"][key] for key in ("name", "dtype") if key in layer["config"]}
    return {
        "class_name": kind,
        "config": {**shared, **config},
        "name": name_of(layer),
        "inbound_nodes": [[[*each, {}] for each in inputs]],
    }


def _of_two(
    kind: str, of_number: Callable[[float, bool], dict[str, Any] | None] | None = None
) -> Callable[[list[Any], dict[str, Any]], _Made | None]:
    """Return what makes a merging layer of two tensors, or a rescaling of a tensor and a number."""

    def make(ends: list[Any], options: dict[str, Any]) -> _Made | None:
        if set(options) != {"y"} or len(ends) != 1:
            return None
        (first,), second = ends, options["y"]
        if is_end(second) and CONSTANT not in (first[0], second[0]):
            return kind, {}, [first, second[:3]]
        flipped = first[0] == CONSTANT
        number, tensor = (first[2], second) if flipped else (second, first)
        if not isinstance(number, int | float) or of_number is None or not is_end(tensor):
            return None
        scaled = of_number(number, flipped)
        return None if scaled is None else ("Rescaling", scaled, [tensor[:3]])

    return make


def _of_one(
    kind: str, config: dict[str, Any], known: Mapping[str, Any] | None = None
) -> Callable[[list[Any], dict[str, Any]], _Made | None]:
    """Return what makes a layer of one tensor; other options than those known are not understood."""

    def make(ends: list[Any], options: dict[str, Any]) -> _Made | None:
        if len(ends) != 1 or any((known or {}).get(key) != each for key, each in options.items()):
            return None
        return kind, dict(config), ends

    return make


def _concatenate(ends: list[Any], options: dict[str, Any]) -> _Made | None:
    axis = options.get("axis")
    return ("Concatenate", {"axis": axis}, ends) if isinstance(axis, int) and axis else None


def _reshape(ends: list[Any], options: dict[str, Any]) -> _Made | None:
    shape = options.get("shape")
    if len(ends) != 1 or not isinstance(shape, list) or shape[:1] != [-1] or len(shape) < 2:
        return None
    if not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        return None
    return "Reshape", {"target_shape": shape[1:]}, ends


def _transpose(ends: list[Any], options: dict[str, Any]) -> _Made | None:
    order = options.get("perm")
    if len(ends) != 1 or not isinstance(order, list) or order[:1] != [0] or len(order) < 3:
        return None
    return "Permute", {"dims": order[1:]}, ends


def _leaky_relu(ends: list[Any], options: dict[str, Any]) -> _Made | None:
    slope = options.get("alpha", 0.2)
    return ("LeakyReLU", {"negative_slope": slope}, ends) if len(ends) == 1 else None


_ADD = _of_two("Add", lambda number, flipped: {"scale": 1.0, "offset": number})
_SUBTRACT = _of_two(
    "Subtract",
    lambda number, flipped: {
        "scale": -1.0 if flipped else 1.0,
        "offset": number if flipped else -number,
    },
)
_MULTIPLY = _of_two("Multiply", lambda number, flipped: {"scale": number, "offset": 0.0})

_FUNCTIONS: dict[str, Callable[[list[Any], dict[str, Any]], _Made | None]] = {
    "__operators__.add": _ADD,
    "math.add": _ADD,
    "math.subtract": _SUBTRACT,
    "math.multiply": _MULTIPLY,
    "math.maximum": _of_two("Maximum"),
    "math.minimum": _of_two("Minimum"),
    "concat": _concatenate,
    "reshape": _reshape,
    "transpose": _transpose,
    "compat.v1.transpose": _transpose,
    "nn.relu": _of_one("Activation", {"activation": "relu"}),
    "nn.relu6": _of_one("ReLU", {"max_value": 6.0}),
    "nn.leaky_relu": _leaky_relu,
    "nn.softmax": _of_one("Activation", {"activation": "softmax"}, {"axis": -1}),
    **{
        f"nn.{name}": _of_one("Activation", {"activation": name})
        for name in ("elu", "selu", "softplus")
    },
    **{
        f"{module}.{name}": _of_one("Activation", {"activation": name})
        for module in ("math", "nn")
        for name in ("sigmoid", "tanh")
    },
}
"""Function -> what makes a layer of its call, or returns None if there is none that does the same."""
