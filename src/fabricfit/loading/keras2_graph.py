"""Calls of layers in a graph, as Keras 2 recorded them, in the form of Keras 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabricfit.errors import InvalidInputError

__all__ = ["CONSTANT", "CallNames", "is_end", "name_of", "without_slashes"]

_MERGING = (
    *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
)
_RECURRENT = (
    *("Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN"),
)
CONSTANT = "_CONSTANT_VALUE"
"""What stands for a layer where a number or an array is called in its place."""


def name_of(layer: Mapping[str, Any]) -> str:
    """Return the name by which a graph calls a layer.

    Parameters
    ----------
    layer
        The layer, as Keras 2 wrote it.
    """
    return str(layer.get("name") or layer["config"]["name"])


def without_slashes(name: str) -> str:
    """Return the name of a layer as Keras 3 accepts it.

    Parameters
    ----------
    name
        The name in Keras 2.
    """
    return name.replace("/", "_")


def is_end(part: Any) -> bool:
    """Tell whether a part of a call is a tensor: the layer, which of its calls, which of its outputs.

    Parameters
    ----------
    part
        A part of a call, as Keras 2 wrote it.
    """
    return (
        isinstance(part, list)
        and len(part) in (3, 4)
        and isinstance(part[0], str)
        and isinstance(part[1], int)
        and (isinstance(part[2], int) or part[0] == CONSTANT)
    )


@dataclass(frozen=True)
class CallNames:
    """How the layers of a graph and their calls are named in Keras 3.

    Parameters
    ----------
    offsets
        Layer -> how many calls before the first one in the file; Keras 2 counts the graph of a model inside a
        model as its first call.
    kept
        Layer -> how many calls Keras 3 takes off the ends of a model itself.
    renamed
        Layer in Keras 2 -> in Keras 3, where it has another name.
    """

    offsets: Mapping[str, int]
    kept: Mapping[str, int]
    renamed: Mapping[str, str]

    @classmethod
    def read(cls, layers: Sequence[Mapping[str, Any]], renamed: Mapping[str, str]) -> CallNames:
        """Read them.

        Parameters
        ----------
        layers
            The layers of the graph, as Keras 2 wrote them.
        renamed
            As above.
        """
        nodes = [node for each in layers for node in each.get("inbound_nodes", ())]
        counted = not any(isinstance(node, dict) for node in nodes)
        models = {name_of(each): each for each in layers if counted and _has_graph(each)}
        kept = {name: 1 for name, each in models.items() if "input_layers" in each["config"]}
        return cls(dict.fromkeys(models, 1), kept, renamed)

    def calls(self, layer: Mapping[str, Any], kind: str, source: str) -> list[dict[str, Any]]:
        """Return the calls of a layer with their arguments.

        Parameters
        ----------
        layer
            The layer, as Keras 2 wrote it.
        kind
            Its class in Keras 3.
        source
            The file, for messages.

        Raises
        ------
        InvalidInputError
            A call is not understood.
        """
        nodes = layer.get("inbound_nodes", ())
        try:
            return [self._call(each, kind) for each in nodes]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{source}: the calls of layer {name_of(layer)!r} are not in a form that is known "
                f"of Keras 2: {str(nodes)[:120]}"
            ) from error

    def ends(self, ends: Any) -> Any:
        """Return a model's inputs or outputs; a single one is no list.

        Parameters
        ----------
        ends
            As Keras 2 wrote them.
        """
        if isinstance(ends, list) and len(ends) == 1 and is_end(ends[0]):
            (ends,) = ends
        if is_end(ends):
            name, call, output = ends[:3]
            call += self.kept.get(name, 0) - self.offsets.get(name, 0)
            return [self.renamed.get(name, name), call, output]
        if isinstance(ends, dict):
            return {key: self.ends(each) for key, each in ends.items()}
        return [self.ends(each) for each in ends]

    def _call(self, call: Any, kind: str) -> dict[str, Any]:
        if isinstance(call, dict) and "args" in call:
            return call  # as Keras 3 has it
        options: dict[str, Any] = {}
        given = self._restore(call, options)
        if isinstance(given, list) and len(given) == 1 and kind not in _MERGING:
            (given,) = given
        named = {key: self._restore(each) for key, each in options.items() if each is not None}
        if kind in _RECURRENT and isinstance(given, list):
            given, *states = given
            named.setdefault("initial_state", states)
        return {"args": [given], "kwargs": named}

    def _restore(self, part: Any, options: dict[str, Any] | None = None) -> Any:
        """Return a part of a call, and gather the arguments that are given by name."""
        if is_end(part):
            if options is not None and len(part) > 3:
                options.update(part[3])
            return part[2] if part[0] == CONSTANT else self._tensor(part)
        if isinstance(part, dict):
            return {key: self._restore(each, options) for key, each in part.items()}
        if isinstance(part, list):
            return [self._restore(each, options) for each in part]
        return part

    def _tensor(self, end: list[Any]) -> dict[str, Any]:
        name, call, output = end[:3]
        history = [self.renamed.get(name, name), call - self.offsets.get(name, 0), output]
        # Keras puts the tensor of the graph in the place of this one, whatever its shape.
        described = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": described}


def _has_graph(layer: Mapping[str, Any]) -> bool:
    """Tell whether a layer is a model whose inputs were known, so that it has a graph."""
    config = layer.get("config")
    if isinstance(config, dict) and "input_layers" in config:
        return True
    if layer.get("class_name") != "Sequential":
        return False
    inside = config.get("layers") if isinstance(config, dict) else config
    if not inside:
        return False
    shaped = any(key in inside[0]["config"] for key in ("batch_input_shape", "batch_shape"))
    return shaped or _has_graph(inside[0])
