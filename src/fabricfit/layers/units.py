"""How units pass through a layer: what a family answers about one call, and the records it answers with.

A unit is a neuron, a filter, a channel: an entry of a tensor's last axis. Surgery asks a family what
constant each unit has where its inputs are constant, which input unit belongs to which output unit, what
keeps units from being removed, which input units the layer can do without, and what the smaller layer is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

from fabricfit.layers.calls import Call

__all__ = [
    "Changed",
    "Constants",
    "Cut",
    "Link",
    "Numbers",
    "Replacement",
    "UnitFlow",
    "Wiring",
    "apply_elementwise",
    "only_zero",
    "public_layers",
    "to_array",
    "to_numpy",
]

Constants = np.ndarray
"""A number for each unit, float64: its value on every input and position, NaN where it varies."""


@dataclass(frozen=True)
class Link:
    """Units that can only be removed together.

    Parameters
    ----------
    port
        Position of the input.
    inputs, outputs
        Unit indices of equal length: ``inputs[i]`` of that input belongs to ``outputs[i]``.
    """

    port: int
    inputs: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class Cut:
    """The units that are removed around one call.

    Parameters
    ----------
    kept_inputs
        For each input a boolean for each unit.
    kept_output
        The same for the output.
    constants
        For each input the values of its units, removed ones included.
    """

    kept_inputs: tuple[np.ndarray, ...]
    kept_output: np.ndarray
    constants: tuple[Constants, ...]

    @property
    def changes(self) -> bool:
        """Whether any unit is removed."""
        return not all(kept.all() for kept in (*self.kept_inputs, self.kept_output))


@dataclass(frozen=True)
class Replacement:
    """The smaller layer: what changes in its configuration, and all its weights in order."""

    config: dict[str, Any] = field(default_factory=dict)
    weights: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Changed:
    """A layer inside another one, as an entry of the new configuration of the latter: copied with changes.

    ``layer`` is the layer as it is, ``config`` what changes in its configuration.
    """

    layer: Any
    config: dict[str, Any]


class Numbers(NamedTuple):
    """Some number for each unit around a call: of its inputs, of its output, and of units inside it."""

    inputs: tuple[np.ndarray, ...]
    output: np.ndarray
    inner: np.ndarray


class Wiring(NamedTuple):
    """A number for each channel that a kernel receives, and for each unit that it makes."""

    rows: np.ndarray | None
    units: np.ndarray


class UnitFlow:
    """How units pass through the calls of a layer.

    The defaults describe a layer whose units pass one by one, keep their constants and carry no weights.
    Answers depend on the call alone: one instance serves every call.
    """

    has_own_units: bool = False
    """Whether the layer makes units of its own, so that its input and output units are not coupled."""

    shareable: bool = True
    """Whether units can be removed around a layer that the model calls several times."""

    def is_plain(self, call: Call) -> bool:
        """Return whether the layer is called with nothing but arguments that this family knows."""
        return call.plain

    def shrinks(self, call: Call) -> bool:
        """Return whether something inside the layer can be removed even if all its units stay."""
        return False

    def obstacle(self, call: Call) -> str | None:
        """Return why nothing around this call can be removed, if so."""
        return None

    def pins_output(self, call: Call) -> str | None:
        """Return why the output units have to stay, if so."""
        return None

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        """Return the values of the output units, given those of the input units; NaN where they vary."""
        return inputs[0]

    def links(self, call: Call) -> list[Link]:
        """Return which input units belong to which output units: none where it makes units of its own."""
        if self.has_own_units:
            return []
        units = np.arange(call.output.units or 0)
        return [Link(port, units, units) for port in range(len(call.inputs))]

    def coupled_outputs(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        """Return which output units can only be removed together: two arrays of equal length."""
        return np.empty(0, int), np.empty(0, int)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        """Return, for each unit of an input, whether this layer can do without it, shape (units,).

        Layers whose input and output units are coupled have nothing to say here.
        """
        return np.ones(constants.shape, bool)

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        """Return which of its own output units the layer itself uses, shape (units,).

        So recurrent layers do; ``constants`` are the values of the output units.
        """
        return np.zeros(constants.shape, bool)

    def inner_units(self, call: Call) -> int:
        """Return how many units the layer has inside, such as heads, that no tensor carries."""
        return 0

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        """Return between which units the layer's kernels stand.

        Parameters
        ----------
        call
            The call.
        numbers
            Of the units of its tensors, and of what is inside.

        Returns
        -------
        dict
            Name of the kernel, ``''`` for the only one -> the numbers of what it receives and makes.
        """
        return {}

    def scales(self, call: Call) -> list[Any]:
        """Return variables of one number for each output unit, at zero for a unit that is removed."""
        return []

    def why_constants_matter(self, call: Call) -> str:
        """Return why this layer may be unable to do without a unit that is constant."""
        return f"{call.name!r} cannot take up a constant"

    def zero_units(self, call: Call) -> np.ndarray:
        """Return which of the layer's own units have a kernel of zeros, shape (units,)."""
        return np.zeros(call.output.units or 0, bool)

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        """Return the layer without the units that are removed."""
        return Replacement(weights=call.layer.get_weights())

    def why_inexact(self, call: Call, cut: Cut) -> str | None:
        """Return why the finished cut would change what the layer computes, if so."""
        return None


def apply_elementwise(
    function: Callable[[Any], Any], constants: Constants, rank: int = 2
) -> Constants:
    """Return the results of a function that works number by number on constants.

    A result that is not finite counts as varying: it cannot be folded into anything.

    Parameters
    ----------
    function
        From a tensor to one of the same shape.
    constants
        Its inputs, one for each unit.
    rank
        Axes of the tensor that it receives: the last one of units, the others of length 1.
    """
    varies = np.isnan(constants)
    dtype = np.float64 if keras.config.floatx() == "float64" else np.float32
    # Past the range of float32 the result below is infinite, and so "varies".
    with np.errstate(over="ignore"):
        values = np.where(varies, 0.0, constants).astype(dtype)
    given = values.reshape(*(1,) * (rank - 1), -1)
    result = to_numpy(function(keras.ops.convert_to_tensor(given))).reshape(-1)
    return np.where(varies | ~np.isfinite(result), np.nan, result)


def only_zero(constants: Constants) -> Constants:
    """Return constants with those other than 0 counted as varying."""
    return np.where(constants == 0, 0.0, np.nan)


def to_array(array: Any) -> np.ndarray:
    """Return an array of any backend in its own type."""
    return np.asarray(keras.ops.convert_to_numpy(array))


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of any backend as float64."""
    return to_array(array).astype(np.float64)


def public_layers(names: Iterable[str]) -> tuple[type, ...]:
    """Return the layer classes of these names that the installed Keras has."""
    found = (getattr(keras.layers, name, None) for name in names)
    return tuple(layer for layer in found if layer is not None)
