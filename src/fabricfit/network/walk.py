"""The layers of a Keras model by name, those of nested models included."""

from __future__ import annotations

from typing import Any

import keras

from fabricfit.errors import InvalidInputError, InvalidTypeError
from fabricfit.network.reader import name_layers
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
    """Return the layers of a model by name."""
    return name_layers(model)
