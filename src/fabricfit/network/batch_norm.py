"""Batch normalizations folded into the layers around them: one layer less, and the same function.

hls4ml folds some when it converts a model, so that what it multiplies by is not the kernel that was trained:
weights that were equal, powers of two or on the grid no longer are. Folded beforehand, the kernel in Keras is
the one in hardware.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from fabricfit.layers import family_of, hands_on
from fabricfit.layers.calls import Call
from fabricfit.layers.units import Replacement
from fabricfit.network.graph import Graph
from fabricfit.network.reader import Network, read
from fabricfit.network.rebuild import rebuild

__all__ = ["Fold", "Scaling", "find_folds", "fold_normalizations"]

logger = logging.getLogger(__name__)

_DROPPED = (
    *("Activation", "AlphaDropout", "Dropout", "GaussianDropout"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
)
"""Layers that hand on, and that hls4ml has left out when it folds."""


@dataclass(frozen=True)
class Scaling:
    """A layer that multiplies every entry of an axis by one number and adds another: a normalization.

    Parameters
    ----------
    layer
        The layer.
    axis
        The axis, from the end.
    scale, offset
        The numbers, for the axis of the layer that takes them up.
    adjacent
        Whether nothing stands between the two layers, or only what hls4ml leaves out.
    """

    layer: Any
    axis: int
    scale: np.ndarray
    offset: np.ndarray
    adjacent: bool


@dataclass(frozen=True)
class Fold:
    """A layer that can take up the normalizations behind it, or the one before it.

    Parameters
    ----------
    layer
        The layer.
    scalings
        What it takes up, in the order in which data pass.
    behind
        Whether they are behind the layer.
    """

    layer: Any
    scalings: tuple[Scaling, ...]
    behind: bool

    def replacement(self) -> Replacement | None:
        """Return the layer that does all of it; None where its weights cannot."""
        axes = {each.axis for each in self.scalings}
        family = family_of(self.layer)
        if family is None or len(axes) != 1:
            return None
        scale, offset = self.scalings[0].scale, self.scalings[0].offset
        for each in self.scalings[1:]:
            scale, offset = scale * each.scale, offset * each.scale + each.offset
        take_up = family.scaled_results if self.behind else family.scaled_inputs
        return take_up(self.layer, axes.pop(), scale, offset)

    def first(self, count: int) -> Fold:
        """Return the fold of so many of the normalizations behind the layer, the nearest ones."""
        return replace(self, scalings=self.scalings[:count])


def find_folds(network: Network) -> list[Fold]:
    """Return the normalizations that the layers before them can take up exactly.

    Such a layer is linear (a product and a bias, or a normalization itself), its results go nowhere else, and
    between the two are at most layers that hand numbers on, such as Dropout. If the layer is called several
    times, the normalization is called behind each of them and nowhere else. Layers that quantize their own
    weights keep their normalizations.
    """
    return [*_find_behind(network.graph, _count_places(network.graph))]


def fold_normalizations(
    network: Network, choose: Callable[[Fold], Fold | None] | None = None
) -> Network:
    """Return a network with the same function in which normalizations are part of the weights.

    Parameters
    ----------
    network
        What was read of a model, which is not changed.
    choose
        Which of the folds are made, from one of :func:`find_folds` to the part of it that is. All are made by
        default, and then also those of normalizations right before a layer with a kernel, where that does
        not fill its input up with zeros at the border.

    Returns
    -------
    Network
        That of a new, uncompiled model without the normalizations; the one that was given where there are
        none. In training it no longer normalizes by the batch.
    """
    folds = find_folds(network)
    if choose is not None:
        return _apply(network, [fold for fold in map(choose, folds) if fold is not None])
    folded = _apply(network, folds)
    while before := [*_find_before(folded.graph, _count_places(folded.graph))]:
        folded = _apply(folded, before)
    return folded


def _apply(network: Network, folds: list[Fold]) -> Network:
    replacements: dict[int, Replacement] = {}
    removed: dict[int, str] = {}
    for fold in folds:
        made = fold.replacement()
        if made is not None:
            replacements[id(fold.layer)] = made
            removed |= {id(each.layer): each.layer.name for each in fold.scalings}
    if not removed:
        return network
    logger.info("folded into the layers around them: %s", ", ".join(sorted(removed.values())))
    return read(rebuild(network.model, replacements, removed))


def _count_places(graph: Graph) -> Counter[int]:
    """Count the calls of each layer in a graph and in the models inside it, whoever calls those."""
    found = Counter(id(call.layer) for call in graph.calls)
    for inner in graph.nested.values():
        found += _count_places(inner)
    return found


def _find_behind(graph: Graph, places: Mapping[int, int]) -> Iterator[Fold]:
    calls: dict[int, list[Call]] = {}
    for call in graph.calls:
        calls.setdefault(id(call.layer), []).append(call)
    taken: set[int] = set()
    for own in calls.values():
        layer = own[0].layer
        if family_of(layer) is None or id(layer) in taken or places[id(layer)] != len(own):
            continue
        if not all(call.plain and len(call.outputs) == 1 for call in own):
            continue
        behind = [[*_scalings_behind(call, graph, places, len(own))] for call in own]
        fold = Fold(layer, tuple(_shared_by_all(behind)), behind=True)
        while fold.scalings and fold.replacement() is None:
            fold = fold.first(len(fold.scalings) - 1)
        if fold.scalings:
            taken |= {id(each.layer) for each in fold.scalings}
            yield fold
    for inner in graph.nested.values():
        yield from _find_behind(inner, places)


def _shared_by_all(behind: list[list[Scaling]]) -> Iterator[Scaling]:
    """Yield the normalizations that are behind every call of a layer, in the same order."""
    for several in zip(*behind, strict=False):
        first = several[0]
        alike = all(
            each.layer is first.layer and np.array_equal(each.scale, first.scale)
            for each in several
        )
        if not alike:
            return
        yield replace(first, adjacent=all(each.adjacent for each in several))


def _scalings_behind(
    call: Call, graph: Graph, places: Mapping[int, int], times: int
) -> Iterator[Scaling]:
    """Yield the normalizations behind a call, with nothing between but others and layers that hand on.

    Each is called as many times as the layer is.
    """
    between: list[Call] = []
    while (receiver := _only_receiver((between[-1] if between else call), graph)) is not None:
        if _hands_on(receiver):
            between.append(receiver)
            continue
        scaling = _read_scaling(receiver, places, times)
        if scaling is None:
            return
        passed = [each for each in between if _hands_on(each)]
        carried = _carry(scaling, passed, back=True)
        if carried is None:
            return
        yield replace(
            carried, adjacent=all(type(each.layer).__name__ in _DROPPED for each in passed)
        )
        between.append(receiver)


def _find_before(graph: Graph, places: Mapping[int, int]) -> Iterator[Fold]:
    for call in graph.calls:
        scaling = _read_scaling(call, places, 1)
        if scaling is None:
            continue
        between: list[Call] = []
        receiver = _only_receiver(call, graph)
        while receiver is not None and _hands_on(receiver):
            between.append(receiver)
            receiver = _only_receiver(receiver, graph)
        carried = _carry(scaling, between, back=False)
        if receiver is None or carried is None or places[id(receiver.layer)] != 1:
            continue
        fold = Fold(receiver.layer, (carried,), behind=False)
        if receiver.plain and len(receiver.inputs) == 1 and fold.replacement() is not None:
            yield fold
    for inner in graph.nested.values():
        yield from _find_before(inner, places)


def _only_receiver(call: Call, graph: Graph) -> Call | None:
    """Return the only call that receives what another one makes; None where it goes elsewhere as well."""
    made = call.output.index
    receivers = graph.receivers(made)
    if made in graph.outputs or len(receivers) != 1 or len(receivers[0].outputs) != 1:
        return None
    return receivers[0]


def _hands_on(call: Call) -> bool:
    return call.plain and hands_on(call.layer)


def _read_scaling(call: Call, places: Mapping[int, int], times: int) -> Scaling | None:
    """Return a call as a normalization by known numbers, if that is what it is and its layer has so many."""
    layer, family = call.layer, family_of(call.layer)
    if family is None or not call.plain or places[id(layer)] != times or len(call.inputs) != 1:
        return None
    axis, found = family.scaled_axis(layer), family.scale_and_offset(layer)
    floating = keras.backend.is_float_dtype(call.node.input_tensors[0].dtype)
    if axis is None or found is None or not floating:
        return None
    scale, offset = (np.asarray(part, np.float64) for part in found)
    return Scaling(layer, axis, scale, offset, adjacent=True)


def _carry(scaling: Scaling, between: list[Call], *, back: bool) -> Scaling | None:
    """Return a normalization as it is on the other side of layers that hand numbers on.

    None where one number there would have to be two, or where units are not on the last axis.
    """
    for call in reversed(between) if back else between:
        family = family_of(call.layer)
        shapes = call.inputs[0].shape, call.output.shape
        if shapes[0] == shapes[1]:
            continue
        if (
            family is None
            or scaling.axis != -1
            or None in (t.units for t in (call.inputs[0], call.output))
        ):
            return None
        link = family.links(call)[0]
        here, there = (link.outputs, link.inputs) if back else (link.inputs, link.outputs)
        units = (call.inputs[0] if back else call.output).units or 0
        carried = []
        for numbers in (scaling.scale, scaling.offset):
            moved = np.zeros(units)
            moved[there] = numbers[here]
            if not (moved[there] == numbers[here]).all():
                return None
            carried.append(moved)
        scaling = replace(scaling, scale=carried[0], offset=carried[1], adjacent=False)
    return scaling
