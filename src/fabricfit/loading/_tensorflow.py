"""The files of a SavedModel, as TensorFlow reads them; its graph is not run."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from fabricfit.errors import InvalidInputError
from fabricfit.loading.stored import read_json
from fabricfit.reading import read_bytes

_LARGEST = 2**31 - 1
"""Bytes of a message, as protocol buffers have it."""

__all__ = ["SavedModelFiles"]


class SavedModelFiles:
    """What the files of a SavedModel hold of its objects.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def metadata(self) -> dict[int, dict[str, Any]]:
        """Return what Keras wrote of each object, by its number, before it had a file of its own for it."""
        found = {}
        for number, node in enumerate(self._objects):
            text = node.user_object.metadata
            if text.startswith("{"):
                found[number] = read_json(text, "an object", self._folder)
        return found

    def weights(self, number: int) -> list[tuple[str, np.ndarray]]:
        """Return the names and values of the weights of a layer, those that are trained first.

        Parameters
        ----------
        number
            The layer's number among the objects.
        """
        lists = [
            self._child(number, f"{each}_variables") for each in ("trainable", "non_trainable")
        ]
        listed = [each for node in lists if node is not None for each in self._items(node)]
        if lists == [None, None]:  # a layer that no function was traced of
            listed = [int(child.node_id) for child in self._objects[number].children]
        return [
            (self._objects[each].variable.name, self._checkpoint.get_tensor(self._keys[each]))
            for each in dict.fromkeys(listed)
            if each in self._keys
        ]

    def _items(self, node: int) -> list[int]:
        """Return the objects in a list, in its order."""
        children = {
            int(child.local_name): int(child.node_id)
            for child in self._objects[node].children
            if child.local_name.isdigit()
        }
        return [children[place] for place in sorted(children)]

    @cached_property
    def _objects(self) -> Any:
        message = saved_model_pb2.SavedModel()
        path = self._folder / "saved_model.pb"
        try:
            message.ParseFromString(read_bytes(path, _LARGEST))
            return message.meta_graphs[0].object_graph_def.nodes
        except Exception as error:  # of the protocol buffer's own
            raise InvalidInputError(f"{path} cannot be read as a SavedModel: {error}") from error

    @cached_property
    def _checkpoint(self) -> Any:
        path = self._folder / "variables" / "variables"
        try:
            return tf.train.load_checkpoint(str(path))
        except Exception as error:
            raise InvalidInputError(f"{path} cannot be read as a checkpoint: {error}") from error

    @cached_property
    def _keys(self) -> dict[int, str]:
        """The number of each variable -> its key in the checkpoint, whose objects have other numbers."""
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(self._checkpoint.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        found: dict[int, str] = {}
        waiting, seen = [(0, 0)], set()
        while waiting:
            pair = waiting.pop()
            if pair in seen:
                continue
            seen.add(pair)
            number, stored = pair
            for each in graph.nodes[stored].attributes:
                if each.name == "VARIABLE_VALUE":
                    found[number] = each.checkpoint_key
            theirs = {child.local_name: child.node_id for child in graph.nodes[stored].children}
            for child in self._objects[number].children:
                if child.local_name in theirs:
                    waiting.append((child.node_id, theirs[child.local_name]))
        return found

    def _child(self, number: int, name: str) -> int | None:
        """Return an object in another one, which Keras keeps among its attributes or under its own name."""
        for child in self._objects[number].children:
            if child.local_name == name:
                return int(child.node_id)
        inside = next(
            (c.node_id for c in self._objects[number].children if c.local_name == "keras_api"), None
        )
        return None if inside is None else self._child(inside, name)
