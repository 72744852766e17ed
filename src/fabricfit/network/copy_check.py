"""Checks that a copy of a model is like the model: the same layers and weights, and the same results."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from functools import partial
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.network.copying import every_layer, is_own_class

__all__ = ["check_layers", "check_results", "has_own_layers"]

_SAMPLES = 3
_SIZE = 16
"""Length of an axis that may have any."""

_LOWEST = (-1.0, 0.0)
"""From where random numbers up to 1 are drawn; the second for models that take no negative ones."""

_TOLERANCE = 1e-3
"""Parts of the largest result by which half precision may differ from itself."""


def check_layers(copy: Any, original: Any) -> list[tuple[Any, Any]]:
    """Return the layers of a copy beside those of the original, the outer ones first.

    Raises
    ------
    InvalidInputError
        They differ in number, kind or weights.
    """
    pairs = list(itertools.zip_longest(_working_layers(copy), _working_layers(original)))
    differing = [pair for pair in pairs if not _are_alike(*pair)]
    if differing:
        raise _refuse(*_find_cause(differing, original))
    if len(copy.variables) != len(original.variables):
        raise _refuse(
            original,
            "layers in it share a variable, and those of a copy would not: share the layer instead",
        )
    return pairs


def has_own_layers(model: keras.Model) -> bool:
    """Return whether layers are in a model whose classes are the user's own."""
    return any(is_own_class(type(layer)) for layer in every_layer(model) if layer is not model)


def check_results(copy: keras.Model, model: keras.Model) -> None:
    """Compare what a copy with layers of the user's own computes for a few random samples.

    Layers of Keras are copied as they are. Nothing is said of a model that cannot be run on random numbers,
    or is random itself.

    Raises
    ------
    InvalidInputError
        The results or the penalties differ: names the first layer of which that is so.
    """
    if not has_own_layers(model):
        return
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    for lowest in _LOWEST:
        X = keras.tree.map_structure(partial(_draw, lowest), inputs)
        try:
            expected, penalties = _run(model, X)
            found, added = _run(copy, X)
            same = _agree(expected, found)
            if (same and _agree(penalties, added)) or not _agree(expected, _run(model, X)[0]):
                return
        except Exception:  # whatever the user's code does with random numbers
            continue
        what = "penalties of regularizers" if same else "results"
        raise _refuse(_find_differing_layer(copy, model, X), f"its copy has other {what}")


def _working_layers(model: Any) -> list[Any]:
    """Return all layers but inputs, of which models inside one another have their own in a copy."""
    return [each for each in every_layer(model) if not isinstance(each, keras.layers.InputLayer)]


def _are_alike(new: Any, old: Any) -> bool:
    if new is None or old is None or len(new.variables) != len(old.variables):
        return False
    return all(
        tuple(a.shape) == tuple(b.shape) and a.dtype == b.dtype
        for a, b in zip(new.variables, old.variables, strict=True)
    )


def _find_cause(differing: list[tuple[Any, Any]], original: Any) -> tuple[Any, str]:
    """Return the first layer that differs and has none inside that does, and in what it differs."""
    known = {id(old): (new, old) for new, old in differing if old is not None}
    for new, old in known.values():
        inside = {id(each) for each in every_layer(old) if each is not old}
        if not inside & set(known):
            return old, _describe_difference(new, old)
    return original, _describe_difference(None, None)


def _describe_difference(new: Any, old: Any) -> str:
    if new is None or old is None:
        return "its copy does not have the same layers inside"
    shapes = [[tuple(v.shape) for v in each.variables] for each in (new, old)]
    return f"its copy has weights of the shapes {shapes[0]}, and it has {shapes[1]}"


def _refuse(layer: Any, why: str) -> InvalidInputError:
    kind = type(layer).__name__
    return InvalidInputError(
        f"layer {layer.name!r} ({kind}) cannot be copied, and a copy of the model is what is worked with: "
        f"{why}. Let {kind}.get_config return every argument of {kind}.__init__, and what was changed "
        "afterwards."
    )


def _draw(lowest: float, tensor: Any) -> Any:
    shape = [_SIZE if length is None else length for length in tensor.shape[1:]]
    rng = np.random.default_rng(0)
    if "float" in tensor.dtype:
        return keras.ops.convert_to_tensor(rng.uniform(lowest, 1, (_SAMPLES, *shape)), tensor.dtype)
    return keras.ops.convert_to_tensor(rng.integers(0, 2, (_SAMPLES, *shape)), tensor.dtype)


def _run(model: Any, X: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return a model's results, and its penalties."""
    outputs = keras.tree.flatten(model(X, training=False))
    return _to_arrays(outputs), _to_arrays(model.losses)


def _to_arrays(tensors: Any) -> list[np.ndarray]:
    return [
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(each, "float32"))) for each in tensors
    ]


def _agree(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(
        a.shape == b.shape
        and np.allclose(a, b, 0, _TOLERANCE * max(np.abs(a).max(initial=0), 1e-6), equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def _find_differing_layer(copy: Any, model: Any, X: Any) -> Any:
    """Return the layer of a model that is the first to compute something else in the copy."""
    layers = list(every_layer(model))
    for (place, old), (_, new) in zip(_record(model, X), _record(copy, X), strict=False):
        if not _agree(old, new):
            return layers[place]
    return model


def _record(model: Any, X: Any) -> list[tuple[int, list[np.ndarray]]]:
    """Return the results of every call of a layer in a run of a model, with the layer's place."""
    found: list[tuple[int, list[np.ndarray]]] = []

    def recording(place: int, call: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            results = call(*args, **kwargs)
            found.append((place, _to_arrays(keras.tree.flatten(results))))
            return results

        return run

    with ExitStack() as stack:
        for place, layer in enumerate(every_layer(model)):
            vars(layer)["call"] = recording(place, layer.call)
            stack.callback(vars(layer).pop, "call")
        model(X, training=False)
    return found
