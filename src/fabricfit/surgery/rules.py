"""How units pass through a layer: one rule for each layer family, found by the layer's type.

A rule answers five questions about a call: what constant each unit has where its inputs are
constant, which input unit belongs to which output unit, what keeps them from being removed, which
input units it can do without, and what layer takes its place. A family without a rule blocks: all
its units stay. To teach the room a new layer, write a :class:`Rule` and decorate it with
:func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np

from fabricfit.layers.calls import Call

__all__ = [
    "Constants",
    "Cut",
    "Link",
    "Numbers",
    "Replacement",
    "Rule",
    "Wiring",
    "apply_elementwise",
    "only_zero",
    "public_layers",
    "register",
    "rule_for",
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
    """What is taken away around one call.

    Parameters
    ----------
    kept_inputs
        For each input a boolean for each unit.
    kept_output
        The same for the output.
    constants
        For each input what its units are, removed ones included.
    """

    kept_inputs: tuple[np.ndarray, ...]
    kept_output: np.ndarray
    constants: tuple[Constants, ...]

    @property
    def changes(self) -> bool:
        """Whether anything is taken away at all."""
        return not all(kept.all() for kept in (*self.kept_inputs, self.kept_output))


@dataclass(frozen=True)
class Replacement:
    """The smaller layer: what changes in its configuration, and all its weights in order."""

    config: dict[str, Any] = field(default_factory=dict)
    weights: list[np.ndarray] = field(default_factory=list)


class Numbers(NamedTuple):
    """Some number for each unit around a call: of its inputs, of its output, and of what is inside."""

    inputs: tuple[np.ndarray, ...]
    output: np.ndarray
    inner: np.ndarray


class Wiring(NamedTuple):
    """What a kernel receives and makes, as a number for each channel and unit."""

    rows: np.ndarray | None
    units: np.ndarray


class Rule:
    """How units pass through the layers of one family.

    The defaults describe a layer that treats every unit alike, keeps constants as they are and has
    no weights: pooling, for example. A rule is stateless; one instance serves every call.
    """

    handles: tuple[type | str, ...] = ()
    """Layer classes, matched exactly (a subclass may do anything), or ``'package.Class'``."""

    has_own_units = False
    """Whether the layer makes units of its own, so that its input and output units are not tied."""

    shareable = True
    """Whether a layer that is applied several times is understood."""

    def is_plain(self, call: Call) -> bool:
        """Return whether the layer is called with nothing that this rule does not know of."""
        return call.plain

    def shrinks(self, call: Call) -> bool:
        """Return whether something inside the layer can go, whatever becomes of its units."""
        return False

    def obstacle(self, call: Call) -> str | None:
        """Say why nothing around this call can be removed, if so."""
        return None

    def pins_output(self, call: Call) -> str | None:
        """Say why the output units have to stay, if so."""
        return None

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        """Return what the output units are, given what the input units are."""
        return inputs[0]

    def links(self, call: Call) -> list[Link]:
        """Return which input units belong to which output units: none where it makes units of its own."""
        if self.has_own_units:
            return []
        units = np.arange(call.output.units or 0)
        return [Link(port, units, units) for port in range(len(call.inputs))]

    def ties(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        """Return which output units can only be removed together: two arrays of equal length."""
        return np.empty(0, int), np.empty(0, int)

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        """Return, for each unit of an input, whether this layer can do without it, shape (units,).

        Layers that tie their units have nothing to say here.
        """
        return np.ones(constants.shape, bool)

    def needs_of_its_own(
        self, call: Call, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        """Return which of its own output units the layer itself listens to, shape (units,).

        So recurrent layers do; ``constants`` are what the output units are.
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
        """Return variables of one number for each output unit, at zero for a unit that does no work."""
        return []

    def why_constants_matter(self, call: Call) -> str:
        """Say why this layer may be unable to do without a unit that is constant."""
        return f"{call.name!r} cannot take up a constant"

    def zero_units(self, call: Call) -> np.ndarray:
        """Return which of the layer's own units have a kernel of zeros, shape (units,)."""
        return np.zeros(call.output.units or 0, bool)

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        """Return the layer without the units that are cut."""
        return Replacement(weights=call.layer.get_weights())

    def refusal(self, call: Call, cut: Cut) -> str | None:
        """Say why the finished cut would change what the layer computes, if so."""
        return None


_RULES: dict[type | str, Rule] = {}
_RuleClass = TypeVar("_RuleClass", bound=type[Rule])


def register(rule: _RuleClass) -> _RuleClass:
    """Make a rule known for the layers that it handles; use as a class decorator."""
    instance = rule()
    for handled in rule.handles:
        _RULES[handled] = instance
    return rule


def rule_for(layer: Any) -> Rule | None:
    """Return the rule for a layer, or ``None`` where its family is not known."""
    cls = type(layer)
    package = cls.__module__.split(".")[0]
    return _RULES.get(cls) or _RULES.get(f"{package}.{cls.__name__}")


def apply_elementwise(function: Callable[[Any], Any], constants: Constants) -> Constants:
    """Return what a function that works number by number makes of constants.

    A result that is not finite counts as varying: it cannot be folded into anything.
    """
    varies = np.isnan(constants)
    dtype = np.float64 if keras.config.floatx() == "float64" else np.float32
    # Past the range of float32 the result below is infinite, and so "varies".
    with np.errstate(over="ignore"):
        values = np.where(varies, 0.0, constants).astype(dtype)
    result = to_numpy(function(keras.ops.convert_to_tensor(values[None])))[0]
    return np.where(varies | ~np.isfinite(result), np.nan, result)


def only_zero(constants: Constants) -> Constants:
    """Return constants with those other than 0 taken for varying ones."""
    return np.where(constants == 0, 0.0, np.nan)


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of any backend as float64."""
    return np.asarray(keras.ops.convert_to_numpy(array)).astype(np.float64)


def public_layers(names: Iterable[str]) -> tuple[type, ...]:
    """Return the layer classes of these names that the installed Keras has."""
    found = (getattr(keras.layers, name, None) for name in names)
    return tuple(layer for layer in found if layer is not None)
