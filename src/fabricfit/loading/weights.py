"""Weights as Keras 2 stored them, layer by layer, given to a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.loading.keras2_graph import without_slashes

__all__ = ["Weights", "assign_weights", "read_weights"]

Weights = Mapping[str, Sequence[tuple[str, np.ndarray]]]
"""Layer -> names and values of its weights: first those that are trained, in Keras' order."""


def read_weights(group: Any) -> Weights:
    """Read the weights in a group of an HDF5 file.

    Parameters
    ----------
    group
        A group that lists the names of layers, each a group of its own.
    """
    return {
        layer: [
            (name, np.asarray(group[layer][name]))
            for name in _read_names(group[layer], "weight_names")
        ]
        for layer in _read_names(group, "layer_names")
    }


def _read_names(group: Any, name: str) -> list[str]:
    """Read a list of names, which long ones are split into parts of."""
    if name in group.attrs:
        found = list(group.attrs[name])
    else:
        found, part = [], 0
        while f"{name}{part}" in group.attrs:
            found += list(group.attrs[f"{name}{part}"])
            part += 1
    return [each.decode("utf8") if isinstance(each, bytes) else str(each) for each in found]


def assign_weights(model: Any, weights: Weights, source: Path) -> None:
    """Give weights to the layers of a model, by the layers' names.

    Parameters
    ----------
    model
        The model.
    weights
        From :func:`read_weights`.
    source
        The file, for messages.

    Raises
    ------
    InvalidInputError
        They are not the weights of this model.
    """
    layers = {layer.name: layer for layer in model.layers if _variables(layer)}
    stored = {
        without_slashes(name): kept
        for name, each in weights.items()
        if (kept := _without_masks(name, each))
    }
    if set(layers) != set(stored):
        if len(layers) != len(stored):
            raise InvalidInputError(
                f"{source} has weights of {len(stored)} layers ({', '.join(stored)}), and the "
                f"model has {len(layers)} layers with weights ({', '.join(layers)}). Take the file "
                "of weights that belongs to this architecture."
            )
        stored = dict(zip(layers, stored.values(), strict=True))  # of the same model, named anew
    for name, layer in layers.items():
        _assign(layer, stored[name], source)


def _variables(layer: Any) -> list[Any]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _without_masks(
    layer: str, stored: Sequence[tuple[str, np.ndarray]]
) -> Sequence[tuple[str, np.ndarray]]:
    """Leave out what TensorFlow Model Optimization kept of a layer to prune it."""
    if not layer.startswith("prune_low_magnitude"):
        return stored
    return [each for each in stored if _short(each[0]) not in ("mask", "threshold", "pruning_step")]


def _short(name: str) -> str:
    """Return the last part of a weight's name: 'kernel' of 'dense/kernel:0'."""
    return name.rpartition("/")[2].partition(":")[0]


def _assign(layer: Any, stored: Sequence[tuple[str, np.ndarray]], source: Path) -> None:
    variables = _variables(layer)
    arrays = [array for _, array in _order(stored, [variable.name for variable in variables])]
    expected, received = ([tuple(each.shape) for each in group] for group in (variables, arrays))
    if expected != received:
        raise InvalidInputError(
            f"{source}: layer {layer.name!r} has weights of the shapes {expected}. Received: "
            f"{received}. Take the file of weights that belongs to this architecture."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def _order(
    stored: Sequence[tuple[str, np.ndarray]], names: Sequence[str]
) -> Sequence[tuple[str, np.ndarray]]:
    """Return stored weights in the order of a layer's own, where their names say that it is another one."""
    found = [_short(name) for name, _ in stored]
    if found == list(names) or sorted(found) != sorted(names):
        return stored
    left = list(zip(found, stored, strict=True))
    ordered = []
    for name in names:
        place = next(i for i, (each, _) in enumerate(left) if each == name)
        ordered.append(left.pop(place)[1])
    return ordered
