"""The layers of a Keras model by name, those of nested models included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.network.tracing import is_functional, traced

__all__ = ["check_model", "functional_graph", "named_layers"]


def check_model(model: Any, argument: str = "model") -> keras.Model:
    """Return the model if its layers and graph can be read, or a functional copy of a subclassed one.

    Raises
    ------
    InvalidTypeError
        It is no Keras model.
    InvalidInputError
        It is not built, or is a subclassed model that :func:`~fabricfit.network.tracing.traced` refuses.
    """
    if not isinstance(model, keras.Model):
        raise InvalidTypeError(
            f"{argument} must be a keras.Model of Keras 3. Received: {type(model)!r}"
        )
    if isinstance(model, keras.Sequential):
        if not model.built or not getattr(model, "_functional", None):
            raise InvalidInputError(
                f"{argument} {model.name!r} is not built: give it an Input, or call "
                "model.build(input_shape), before it is optimized."
            )
    elif not is_functional(model):
        return traced(model, argument)
    return model


def functional_graph(model: keras.Model) -> Any:
    """Return the functional model behind a Sequential or Functional one, else ``None``."""
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    return graph if hasattr(graph, "_nodes_by_depth") else None


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return all layers, those of nested models in the place of the models.

    Returns
    -------
    dict
        Name -> layer. A nested layer that shares its name with another goes by its path,
        ``'block/dense'``; a layer that is used several times appears once.
    """
    paths = {id(layer): (path, layer) for path, layer in reversed(list(_walk(model, "")))}
    taken = Counter(layer.name for _, layer in paths.values())
    return {
        layer.name if taken[layer.name] == 1 else path: layer
        for path, layer in reversed(paths.values())
    }


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{path}/")
        else:
            yield path, layer
