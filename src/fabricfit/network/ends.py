"""What a model receives and returns: names, order, structure and shapes of its inputs and outputs.

Data, losses and metrics are mapped to inputs and outputs here, by name or by place, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from fabricfit.errors import InvalidInputError, InvalidTypeError, quoted_error
from fabricfit.network.graph import find_functional

__all__ = ["Ends", "Side", "Targets", "is_sequence", "read_ends"]


class Targets(NamedTuple):
    """What the outputs of a model are compared with, in the order of its outputs.

    An output that has no labels, weights or teacher has ``()`` in that place, and so has the whole where no
    output has any: nothing is then stored, sent or computed for it.

    Parameters
    ----------
    labels
        Labels of each output.
    weights
        Weights of the samples, for each output.
    teacher
        Another model's outputs, for distillation.
    """

    labels: tuple[Any, ...]
    weights: tuple[Any, ...] = ()
    teacher: tuple[Any, ...] = ()

    def weights_of(self, place: int) -> Any:
        """Return the weights of the samples at an output; None where all count alike."""
        found = self.weights[place] if self.weights else ()
        return None if isinstance(found, tuple) else found

    def labels_of(self, place: int) -> Any:
        """Return the labels of an output; None where there are none."""
        found = self.labels[place]
        return None if isinstance(found, tuple) else found


@dataclass(frozen=True)
class Side:
    """The inputs of a model, or its outputs, in the order of ``keras.tree.flatten``.

    Parameters
    ----------
    kind
        ``'input'`` or ``'output'``.
    names
        Names of their layers.
    others
        Other names that Keras accepts, each set for all of them: the keys of a dict first.
    shapes
        Shapes of one sample; None for a size that is not fixed.
    structure
        The structure in which the model receives or returns them; each is its place.
    ordered
        Whether a list can be in their order: not for a dict of inputs that Keras sorts.
    """

    kind: str
    names: tuple[str, ...]
    others: tuple[tuple[str, ...], ...]
    shapes: tuple[tuple[int | None, ...], ...]
    structure: Any
    ordered: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def by_name(
        self,
        given: Mapping[Any, Any],
        argument: str,
        *,
        partial: bool = False,
        surplus: bool = False,
    ) -> list[Any]:
        """Return what a dict holds for each of them; None for what it leaves out.

        Parameters
        ----------
        given
            Name -> anything.
        argument
            What to call it in an error.
        partial, surplus
            Whether names may be left out, and whether there may be others.

        Raises
        ------
        InvalidInputError
            A name is left out, is no input or output, or is that of several.
        """
        spellings = (*self.others, self.names)
        names = max(spellings, key=lambda each: len(set(each) & set(given)))  # the first of several
        known = " and ".join(map(repr, names))
        unknown = [key for key in given if key not in names]
        if unknown and not surplus:
            raise InvalidInputError(
                f"{argument} has the key {unknown[0]!r}, but the model has no {self.kind} of that name: "
                f"its {self.kind}s are {known}."
            )
        missing = [name for name in names if name not in given]
        if missing and not partial:
            raise InvalidInputError(
                f"{argument} must hold something for each {self.kind} of the model: {known}. Missing: "
                f"{missing[0]!r}; received the keys: {', '.join(map(repr, given)) or 'none'}"
            )
        repeated = [name for name, times in Counter(names).items() if times > 1 and name in given]
        if repeated:
            raise InvalidInputError(
                f"{argument} cannot be a dict, since several {self.kind}s of the model are named "
                f"{repeated[0]!r}. Give a list, in the order of the model's {self.kind}s."
            )
        return [given.get(name) for name in names]

    def arrange(
        self,
        given: Any,
        argument: str,
        *,
        needed: Sequence[int] | None = None,
        surplus: bool = False,
    ) -> list[Any]:
        """Return arrays that come in any structure Keras accepts, in order.

        Parameters
        ----------
        given
            An array for a single one; a list, a tuple, a dict by name, or the model's own structure.
        argument
            What to call it in an error.
        needed
            Places that must have an array; None for all. Others may be left out, and are then None.
        surplus
            Whether a dict may have keys of none of them.

        Raises
        ------
        InvalidInputError
            There are too few, too many, or they have unknown names.
        """
        every = range(len(self))
        needed = every if needed is None else sorted(needed)
        if isinstance(given, Mapping):
            if not self._is_flat and keras.tree.is_nested(self.structure):
                return self._unnest(given, argument)
            partial = len(needed) < len(self)
            found = self.by_name(given, argument, partial=partial, surplus=surplus)
            if any(found[place] is None for place in needed):
                return self.by_name(given, argument, surplus=surplus)  # says which one
            return found
        if not is_sequence(given):
            given = [_to_array(given, argument) if isinstance(given, (list, tuple)) else given]
        elif len(self) == 1 and not any(hasattr(each, "shape") for each in given):
            given = [_to_array(given, argument)] if self._is_flat else [given]
        if not self._is_flat and any(isinstance(each, (Mapping, list, tuple)) for each in given):
            return self._unnest(given, argument)
        if not self.ordered:
            raise InvalidInputError(
                f"{argument} must be a dict by the names "
                f"{', '.join(map(repr, (*self.others, self.names)[0]))}, since the model takes its "
                f"{self.kind}s in a dict. Received: {len(given)} array(s) without names"
            )
        if len(given) == len(self):
            return list(given)
        if len(given) == len(needed):
            places = dict(zip(needed, given, strict=True))
            return [places.get(place) for place in every]
        raise InvalidInputError(
            f"{argument} must hold one array for each of the model's {len(self)} {self.kind}s: "
            f"{', '.join(map(repr, self.names))}. Received: {len(given)}"
        )

    def _unnest(self, given: Any, argument: str) -> list[Any]:
        try:
            plain = keras.tree.lists_to_tuples(given)
            keras.tree.assert_same_structure(plain, keras.tree.lists_to_tuples(self.structure))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{argument} must have the structure of the model's {self.kind}s, "
                f"{self._describe()}: {error}"
            ) from error
        return list(keras.tree.flatten(plain))

    def _describe(self) -> Any:
        return keras.tree.map_structure(lambda place: self.names[place], self.structure)

    @property
    def _is_flat(self) -> bool:
        parts = self.structure.values() if isinstance(self.structure, dict) else self.structure
        return isinstance(self.structure, int) or all(isinstance(part, int) for part in parts)

    def pack(self, leaves: Sequence[Any]) -> Any:
        """Return arrays, one for each place, in the structure in which the model receives or returns them."""
        return keras.tree.map_structure(lambda place: leaves[place], self.structure)


@dataclass(frozen=True)
class Ends:
    """The inputs and outputs of a model."""

    inputs: Side
    outputs: Side


def _to_array(given: Any, argument: str) -> np.ndarray:
    """Return lists of numbers as an array."""
    try:
        return np.asarray(given)
    except Exception as error:  # of several kinds, by what NumPy finds in there
        raise InvalidTypeError(
            f"{argument} must be an array of numbers, all samples of one shape. "
            f"NumPy says: {quoted_error(error)}"
        ) from error


def is_sequence(value: Any) -> bool:
    """Whether a value is a list or tuple of arrays, not a list of numbers that stands for an array."""
    return isinstance(value, (list, tuple)) and not (value and np.isscalar(value[0]))


def read_ends(model: keras.Model) -> Ends:
    """Read the inputs and outputs of a model that is Sequential or Functional, and built."""
    function = find_functional(model)
    return Ends(
        _read_side("input", function.inputs, function.input),
        _read_side("output", function.outputs, function.output),
    )


def _read_side(kind: str, tensors: Sequence[Any], structure: Any) -> Side:
    names = tuple(tensor._keras_history.operation.name for tensor in tensors)
    others = [tuple(tensor.name for tensor in tensors)] if kind == "input" else []
    if isinstance(structure, Mapping) and len(structure) == len(tensors):
        # In the order of keras.tree.flatten, which sorts the keys of a plain dict.
        places = {id(tensor): key for key, tensor in structure.items()}
        if len(places) == len(tensors):
            others.insert(0, tuple(places[id(tensor)] for tensor in tensors))
    numbered = keras.tree.pack_sequence_as(structure, list(range(len(tensors))))
    if len(tensors) == 1 and isinstance(structure, (list, tuple)):
        numbered = 0
    return Side(
        kind,
        names,
        tuple(each for each in others if each != names),
        tuple(tuple(tensor.shape[1:]) for tensor in tensors),
        _tidy(numbered),
        kind == "output"
        or not isinstance(structure, Mapping)
        or list(structure) == sorted(structure),
    )


def _tidy(structure: Any) -> Any:
    """Turn lists into tuples, which all backends keep, and sort keys, as all backends but one do."""
    if isinstance(structure, Mapping):
        return {key: _tidy(structure[key]) for key in sorted(structure)}
    if isinstance(structure, (list, tuple)):
        return tuple(_tidy(part) for part in structure)
    return structure
