"""Which units can be removed: sets of coupled units, and the reasons why some have to stay.

Layer families link units of neighbouring tensors into sets of coupled units, here called classes. A class
can be removed if no layer blocks it, it is no output of the model, and each layer that ends its units
(Dense, Conv2D) can do without them, because they are constant or because nothing uses them. Removing a unit
can make others useless, so this is repeated until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fabricfit.layers import LayerFamily, family_of, unit_family, why_units_stay
from fabricfit.layers.calls import Call, Tensor
from fabricfit.layers.units import Constants, Cut
from fabricfit.network.graph import Graph

__all__ = ["Decision", "Problem", "decide"]

_OUTPUT = "the model returns them"
_FLOOR = "at least one unit of a layer stays"


@dataclass(frozen=True)
class Decision:
    """The units that are removed from a graph.

    Parameters
    ----------
    kept
        For each tensor a boolean for each unit; empty where the units are not known.
    constants
        For each tensor the values of its units, NaN where they vary.
    reasons
        Layer name -> why units of it that do no work stay.
    """

    graph: Graph
    kept: tuple[np.ndarray, ...]
    constants: tuple[Constants, ...]
    reasons: dict[str, str]

    def cut(self, call: Call) -> Cut:
        """Return the units that are removed around a call."""
        return _cut(call, self.kept, self.constants)

    def shrinks(self, call: Call) -> bool:
        """Return whether something inside a layer is removed, even if its units stay."""
        family = unit_family(call.layer)
        return family is not None and why_units_stay(call) is None and family.shrinks(call)

    def removed(self, call: Call) -> np.ndarray:
        """Return the indices of the units that a layer loses."""
        return np.flatnonzero(~self.kept[call.output.index])


def decide(graph: Graph) -> Decision:
    """Choose every unit that can be removed without changing what the model computes."""
    blocked: dict[int, str] = {}
    while True:
        problem = Problem(graph, blocked)
        kept = problem.find_kept()
        refused = problem.find_refusals(kept)
        if not refused:
            return Decision(graph, kept, problem.constants, problem.explain(kept))
        blocked |= refused


@dataclass(eq=False)
class Problem:
    """The coupled units of a graph, the layers that block them, and the search for those to remove."""

    graph: Graph
    blocked: dict[int, str]

    @cached_property
    def obstacles(self) -> dict[int, str]:
        """Position of each call around which nothing can be removed -> the reason."""
        return {
            index: why
            for index, call in enumerate(self.graph.calls)
            if (why := self.blocked.get(index) or why_units_stay(call)) is not None
        }

    @cached_property
    def families(self) -> dict[int, LayerFamily]:
        """Position of each other call -> the family of its layer."""
        return {
            index: family
            for index, call in enumerate(self.graph.calls)
            if index not in self.obstacles and (family := unit_family(call.layer)) is not None
        }

    @cached_property
    def constants(self) -> tuple[Constants, ...]:
        """The values of the units of each tensor, NaN where they vary."""
        return self._propagate_constants()

    @cached_property
    def pins(self) -> list[tuple[np.ndarray, str]]:
        """Classes that have to stay whatever else is removed, with the reason."""
        return list(self._pins())

    @cached_property
    def n_classes(self) -> int:
        """Number of classes, those of units inside layers included."""
        return self._n_tensor_classes + sum(stop - start for start, stop in self._inner.values())

    @cached_property
    def _starts(self) -> np.ndarray:
        """Position of the first unit of each tensor among all units, and the number of these."""
        sizes = [tensor.units or 0 for tensor in self.graph.tensors]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @cached_property
    def _unit_classes(self) -> np.ndarray:
        return self._couple_units()

    @property
    def _n_tensor_classes(self) -> int:
        return int(self._unit_classes.max(initial=-1)) + 1

    @cached_property
    def _inner(self) -> dict[int, tuple[int, int]]:
        """Position of a call -> the classes of the units inside it, from the first to behind the last."""
        found, start = {}, self._n_tensor_classes
        for index, family in self.families.items():
            stop = start + family.inner_units(self.graph.calls[index])
            found[index] = (start, stop)
            start = stop
        return found

    def _calls(self) -> Iterator[tuple[Call, LayerFamily]]:
        for index, family in self.families.items():
            yield self.graph.calls[index], family

    def classes_of(self, tensor: Tensor) -> np.ndarray:
        """Return the class of each unit of a tensor."""
        return self._unit_classes[self._starts[tensor.index] : self._starts[tensor.index + 1]]

    def inner_classes(self, index: int) -> np.ndarray:
        """Return the class of each unit inside a call: of heads, for example."""
        start, stop = self._inner[index]
        return np.arange(start, stop)

    def find_held(self, zeroed: tuple[Constants, ...]) -> dict[int, str]:
        """Return the classes that have to stay even if their weights are zero, each with a reason.

        Parameters
        ----------
        zeroed
            The values of the units of each tensor when all weights are zero.
        """
        found = {int(unit): why for units, why in self.pins for unit in units}

        def hold(units: np.ndarray, why: str) -> None:
            for unit in units:
                found.setdefault(int(unit), why)

        for call, family in self._calls():
            own = zeroed[call.output.index]
            if family.has_own_units:
                why = f"{call.name!r} is not constant when its weights are zero"
                hold(self.classes_of(call.output)[np.isnan(own)], why)
            for port, tensor in enumerate(call.inputs):
                known = zeroed[tensor.index]
                free = family.dispensable(call, port, known, np.ones(own.shape, bool))
                why = family.why_constants_matter(call)
                hold(self.classes_of(tensor)[~free & ~np.isnan(known)], why)
        return found

    def _propagate_constants(self) -> tuple[Constants, ...]:
        constants = [np.full(tensor.units or 0, np.nan) for tensor in self.graph.tensors]
        for call, family in self._calls():
            if family.pins_output(call) is None:
                inputs = tuple(constants[tensor.index] for tensor in call.inputs)
                constants[call.output.index] = family.constants(call, inputs)
        return tuple(constants)

    def _couple_units(self) -> np.ndarray:
        ends: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0, np.int64),) * 2]
        for call, family in self._calls():
            for link in family.links(call):
                source = self._starts[call.inputs[link.port].index]
                ends.append((source + link.inputs, self._starts[call.output.index] + link.outputs))
            first, second = (
                self._starts[call.output.index] + units for units in family.coupled_outputs(call)
            )
            ends.append((first, second))
        sources, targets = (np.concatenate(side) for side in zip(*ends, strict=True))
        n_slots = int(self._starts[-1])
        if n_slots == 0:
            return np.empty(0, np.int64)
        edges = coo_array((np.ones(sources.size, bool), (sources, targets)), (n_slots, n_slots))
        return connected_components(edges, directed=False)[1]

    def _pins(self) -> Iterator[tuple[np.ndarray, str]]:
        """Yield classes that have to stay whatever happens, with the reason."""
        for index in self.graph.outputs:
            yield self.classes_of(self.graph.tensors[index]), _OUTPUT
        for index, why in self.obstacles.items():
            call = self.graph.calls[index]
            for tensor in (*call.inputs, *call.outputs):
                yield self.classes_of(tensor), why
        for call, family in self._calls():
            why_pinned = family.pins_output(call)
            if why_pinned is not None:
                yield self.classes_of(call.output), why_pinned

    def _objections(self, stays: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
        """Yield classes that layers need while the classes ``stays`` are there."""
        for call, family in self._calls():
            for port, tensor in enumerate(call.inputs):
                constants, units = self.constants[tensor.index], self.classes_of(tensor)
                needed = ~family.dispensable(
                    call, port, constants, stays[self.classes_of(call.output)]
                )
                varies = np.isnan(constants)
                yield units[needed & varies], f"{call.name!r} uses them"
                yield units[needed & ~varies], family.why_constants_matter(call)
            if family.has_own_units:
                own = self.classes_of(call.output)
                needed = family.needs_of_its_own(
                    call, self.constants[call.output.index], stays[own]
                )
                yield own[needed], f"{call.name!r} uses them itself, from step to step"

    def find_kept(self) -> tuple[np.ndarray, ...]:
        """Return, for each tensor, which units stay."""
        stays = np.ones(self.n_classes, bool)
        while True:
            new = np.zeros(self.n_classes, bool)
            for needed, _ in (*self.pins, *self._objections(stays)):
                new[needed] = True
            for call, family in self._calls():
                units = self.classes_of(call.output)
                if family.has_own_units and not new[units].any():
                    # One that stayed so far: what was removed before relied on the others' absence.
                    new[units[stays[units]][0]] = True
            if (new == stays).all():
                return tuple(stays[self.classes_of(tensor)] for tensor in self.graph.tensors)
            stays = new

    def find_refusals(self, kept: tuple[np.ndarray, ...]) -> dict[int, str]:
        """Return the calls whose finished cut would change what they compute."""
        found = {}
        for index, family in self.families.items():
            call = self.graph.calls[index]
            cut = _cut(call, kept, self.constants)
            why = family.why_inexact(call, cut) if cut.changes else None
            if why is not None:
                found[index] = why
        return found

    def explain(self, kept: tuple[np.ndarray, ...]) -> dict[str, str]:
        """Return, for each layer, why units of it that do no work stay."""
        stays = np.zeros(self.n_classes, bool)
        for tensor, mask in zip(self.graph.tensors, kept, strict=True):
            stays[self.classes_of(tensor)] = mask
        holders = [*self.pins, *self._objections(stays)]
        reasons: dict[str, str] = {}
        for index, call in enumerate(self.graph.calls):
            # Also of layers that are blocked themselves, as far as their family is known.
            family = unit_family(call.layer)
            if family is None:
                reasons |= _describe_zero_units(call, self.obstacles.get(index, ""))
                continue
            if len(call.outputs) != 1:
                continue
            if not (family.has_own_units or hasattr(call.layer, "kernel")):
                continue
            if index in self.obstacles and not _has_readable_kernel(call, family):
                reasons |= _describe_zero_units(call, self.obstacles[index])
                continue
            zero = self.classes_of(call.output)[family.zero_units(call) & kept[call.output.index]]
            if zero.size:
                reasons[call.name] = f"{zero.size} zero unit(s) stay: " + (
                    "; ".join(_unique(why for held, why in holders if np.isin(zero, held).any()))
                    or _FLOOR
                )
        return reasons


def _describe_zero_units(call: Call, why: str) -> dict[str, str]:
    """Return why zero units stay of a layer through which it is not known how units pass."""
    family = family_of(call.layer)
    kernels = family.kernels(call.layer) if family is not None else ()
    zero = [kernel.zero_units().sum() for kernel in kernels]
    return {call.name: f"{max(zero)} zero unit(s) stay: {why}"} if any(zero) else {}


def _has_readable_kernel(call: Call, family: LayerFamily) -> bool:
    return call.output.units is not None and family.obstacle(call) is None


def _cut(call: Call, kept: tuple[Any, ...], constants: tuple[Any, ...]) -> Cut:
    return Cut(
        tuple(kept[tensor.index] for tensor in call.inputs),
        kept[call.output.index],
        tuple(constants[tensor.index] for tensor in call.inputs),
    )


def _unique(reasons: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(reasons))
