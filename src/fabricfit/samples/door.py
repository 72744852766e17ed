"""The one door for data: from any structure that Keras accepts to a model's own inputs and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.network.ends import Ends, Side, Targets, is_sequence
from fabricfit.samples.arrays import as_array, fit_shape, to_numpy
from fabricfit.samples.class_weights import weigh_classes
from fabricfit.samples.numbers import check_array

__all__ = ["Check", "Door", "inputs_of"]

Check = Callable[[Targets, str], None]
"""What a loss asks of targets: called with them and what to call them in an error."""


@dataclass(frozen=True)
class Door:
    """Maps inputs, targets and weights of samples, whatever holds them, to what a model takes and returns.

    Only structures are looked at, so that it serves arrays, tensors, and symbols of a graph.

    Parameters
    ----------
    ends
        The model's inputs and outputs; None for a model that is not known, whose inputs stay as they are.
    needed
        Places of the outputs that must have labels; None for all.
    class_weight
        Class -> weight, for a model of one output: see :mod:`fabricfit.samples.class_weights`.
    check
        What the loss asks of targets; None for nothing. Only arrays are checked, not symbols of a graph.
    """

    ends: Ends | None = None
    needed: tuple[int, ...] | None = None
    class_weight: Mapping[int, float] | None = None
    check: Check | None = None

    def __post_init__(self) -> None:
        outputs = 1 if self.ends is None else len(self.ends.outputs)
        if self.class_weight is not None and outputs > 1:
            raise InvalidInputError(
                f"class_weight is for models of one output. This one has {outputs}: give weights of "
                "samples for each output instead, (X, y, weights)."
            )

    def __call__(self, parts: Sequence[Any], name: str = "") -> tuple[Any, Targets]:
        """Map a batch, or a whole data set.

        Parameters
        ----------
        parts
            Inputs, targets, and weights of samples, if any.
        name
            What to call them in an error.

        Raises
        ------
        InvalidInputError
            There is too little, too much, or something of an unknown name.
        """
        X, y, *rest = parts
        weights = rest[0] if rest else None
        suffix = f"_{name}" if name else ""
        inputs = self._arrange_inputs(X, f"X{suffix}")
        if isinstance(y, Targets):
            return inputs, y
        labels = [
            None if each is None else as_array(each, f"y{suffix}")
            for each in self._arrange_labels(y, f"y{suffix}")
        ]
        found = _arrange_weights(
            weights, None if self.ends is None else self.ends.outputs, labels, f"weights{suffix}"
        )
        if self.class_weight is not None:
            found = _multiply(found, weigh_classes(labels[0], self.class_weight))
        targets = Targets(tuple(() if each is None else each for each in labels), found)
        self.check_targets(targets, name)
        return inputs, targets

    def check_targets(self, y: Targets, name: str) -> None:
        """Refuse targets that are nothing to the loss, where they are arrays and no symbols.

        Raises
        ------
        InvalidInputError
            They are.
        """
        arrays = all(isinstance(each, np.ndarray) for each in keras.tree.flatten(y.labels))
        if self.check is not None and arrays:
            self.check(y, f"y_{name}" if name else "y")

    def _arrange_inputs(self, X: Any, argument: str) -> Any:
        if self.ends is not None:
            side = self.ends.inputs
            return side.pack(_read_inputs(side, X, argument))
        return keras.tree.lists_to_tuples(X) if is_sequence(X) else X

    def _arrange_labels(self, y: Any, argument: str) -> list[Any]:
        if self.ends is not None:
            return self.ends.outputs.arrange(y, argument, needed=self.needed)
        if isinstance(y, Mapping):
            raise InvalidInputError(
                f"{argument} cannot be a dict, since the order of the model's outputs is not known. Give a "
                f"list, in the order of the outputs. Received the keys: {', '.join(map(repr, y))}"
            )
        arrays = is_sequence(y) and all(hasattr(each, "shape") for each in y)
        return list(y) if arrays else [y]


def inputs_of(ends: Ends, X: Any, argument: str = "X") -> list[np.ndarray]:
    """Return inputs in any structure that Keras accepts as one array for each input of a model, in order.

    Parameters
    ----------
    ends
        The model's inputs and outputs.
    X
        An array, a list, a tuple, or a dict by the names of inputs; it may hold more than the model needs.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidInputError
        There are too few, too many, or they have unknown names; or one has another shape than the model
        takes, no sample, or a number that is not finite.
    InvalidTypeError
        They are no numbers.
    """
    arrays = [to_numpy(each) for each in _read_inputs(ends.inputs, X, argument)]
    for array in arrays:
        check_array(array, argument)
    if len({len(array) for array in arrays}) > 1:
        raise InvalidInputError(
            f"{argument} must hold the same number of samples for every input. "
            f"Received: {[len(array) for array in arrays]}"
        )
    return arrays


def _read_inputs(side: Side, X: Any, argument: str) -> list[Any]:
    found = side.arrange(X, argument, surplus=True)
    for place, each in enumerate(found):
        if each is None:
            raise InvalidInputError(
                f"{argument} must hold something for the input {side.names[place]!r}. Received: None"
            )
    arrays = [as_array(each, argument) for each in found]
    places = zip(arrays, side.shapes, side.names, strict=True)
    return [fit_shape(array, shape, argument, name) for array, shape, name in places]


def _arrange_weights(
    weights: Any, outputs: Side | None, labels: Sequence[Any], argument: str
) -> tuple[Any, ...]:
    """Return the weights of samples for each output; ``()`` where there are none."""
    if weights is None:
        return ()
    count = len(labels)
    if isinstance(weights, Mapping | list | tuple) and not weights:
        raise InvalidInputError(
            f"{argument} must hold a number for each sample, or be left out. Received: {weights!r}"
        )
    if isinstance(weights, Mapping):
        if outputs is None:
            raise InvalidInputError(
                f"{argument} cannot be a dict, since the names of the model's outputs are not known. "
                "Give a list."
            )
        found = outputs.by_name(weights, argument, partial=True)
    elif is_sequence(weights) and (count > 1 or hasattr(weights[0], "shape") or weights[0] is None):
        found = list(weights)
    else:
        found = [weights] * count  # one for all outputs
        shape = tuple(as_array(weights, argument).shape)
        if count > 1 and len(shape) > 1 and shape[1:] != (1,):
            raise InvalidInputError(
                f"{argument} must hold one number for each sample, or arrays for each of the model's {count} "
                f"outputs, in a list or by name. Received: shape {shape}"
            )
    if len(found) != count:
        raise InvalidInputError(
            f"{argument} must be one array, or hold one, or None, for each of the model's {count} outputs. "
            f"Received: {len(found)}"
        )
    if all(each is None for each in found):
        return ()
    shapes = [None] * count if outputs is None else outputs.shapes
    return tuple(
        () if each is None else _broaden(as_array(each, argument), shape)
        for each, shape in zip(found, shapes, strict=True)
    )


def _broaden(weights: Any, shape: tuple[int | None, ...] | None) -> Any:
    """Give weights of samples as many axes as the loss of an output has values: one less than the output."""
    wanted = max(len(shape), 1) if shape is not None else 0
    missing = wanted - len(weights.shape)
    return weights[(..., *(None,) * missing)] if missing > 0 else weights


def _multiply(found: tuple[Any, ...], weights: Any) -> tuple[Any, ...]:
    if not found:
        return (weights,)
    given = found[0]
    if len(given.shape) > len(weights.shape):
        weights = keras.ops.reshape(weights, (-1, *(1,) * (len(given.shape) - 1)))
    return (keras.ops.multiply(given, weights),)
