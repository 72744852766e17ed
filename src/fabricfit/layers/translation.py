"""Layers in whose place others are read, which compute the same at inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Neighbours", "Translated", "TranslatedLayer", "keep_as_made"]


def keep_as_made(layer: Any) -> None:
    """Leave a layer that has no weights as it was made."""


@dataclass(frozen=True, eq=False)
class TranslatedLayer:
    """A layer of Keras or of HGQ2 that is new and not built, and how it gets its weights.

    Parameters
    ----------
    layer
        The layer.
    fill
        Gives the layer its weights, once it is built. Where the layer cannot hold them it raises an
        ``InvalidInputError`` that says why, as a sentence that goes on from the name of the translated layer.
    """

    layer: Any
    fill: Callable[[Any], None] = keep_as_made


@dataclass(frozen=True)
class Neighbours:
    """The layers around each layer of a model.

    Parameters
    ----------
    before, behind
        Id of a layer -> the layers whose results it receives, and those that receive its own, once for each
        time that they do; None stands for an output of the model, or of one nested in it.
    """

    before: Mapping[int, Sequence[Any]]
    behind: Mapping[int, Sequence[Any]]

    def only_before(self, layer: Any) -> Any:
        """Return the only layer whose results a layer receives, if it is the only one."""
        return _take_only(self.before.get(id(layer), ()))

    def only_behind(self, layer: Any) -> Any:
        """Return the only layer that receives a layer's results, if it is the only one."""
        return _take_only(self.behind.get(id(layer), ()))


def _take_only(layers: Sequence[Any]) -> Any:
    return layers[0] if len(layers) == 1 else None


class Translated:
    """What is said of layers that others stand for, from when a model is read."""

    is_translated: bool = False
    """Whether such layers are read as others, those that :meth:`translation` returns."""

    def translation(self, layer: Any, around: Neighbours) -> tuple[TranslatedLayer, ...]:
        """Return layers that compute the same one behind the other at inference; none for an identity.

        Parameters
        ----------
        layer
            The layer; the names of the new ones begin with its name.
        around
            The layers around all layers of its model.

        Raises
        ------
        InvalidInputError
            None compute the same; says why, as a sentence that goes on from the layer's name.
        """
        raise NotImplementedError(f"{type(self).__name__} translates no layers")
