"""Groups counted: which are saved, and what remains without some of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.coupled_units import find_removed_classes, is_coupled, reduced_sizes
from fabricfit.description.grouping import Grouping
from fabricfit.errors import InvalidInputError, spell

__all__ = [
    "check_removed",
    "count_saved_groups",
    "find_smaller_kernels",
    "left_over",
    "prunes",
]


def find_smaller_kernels(
    attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
) -> dict[str, tuple[int, int]] | None:
    """Return rows and units of kernels without the coupled units whose weights are all zero.

    None where no kernel is pruned by coupled units.
    """
    if not any(map(is_coupled, attributes.values())):
        return None
    return reduced_sizes(attributes, find_removed_classes(attributes, kernels))


def count_saved_groups(kernel: np.ndarray, attributes: LayerAttributes) -> int:
    """Count a kernel's groups that save: all zero, or all equal where sharing is allowed.

    Parameters
    ----------
    kernel
        The weights.
    attributes
        The layer's, ``optimization_attributes`` included. A layer that is not optimizable saves nothing.
    """
    settings = attributes.optimization_attributes
    if not attributes.optimizable or settings is None:
        return 0
    grouping = attributes.grouping
    groups = grouping.to_groups(kernel)
    saved = np.zeros(grouping.n_groups, bool)
    if settings.pruning:
        saved |= ~groups.any(axis=1)
    if settings.weight_sharing and grouping.group_size > 1:
        inside = grouping.to_groups(np.ones(grouping.shape, bool))
        saved |= np.where(inside, groups == groups[:, :1], True).all(axis=1)
    return int(np.count_nonzero(saved))


def left_over(total: int, saved: int, grouping: Grouping, removed: int) -> int:
    """Return what is left of a total without some groups, whichever they are.

    A group that is not full saves in proportion to its members, and such groups count as the first to be
    removed; without the last group, everything that groups can save is saved.

    Parameters
    ----------
    total
        Resources of the dense layer.
    saved
        What a full group saves.
    grouping
        The layer's groups.
    removed
        Number of groups that are removed.
    """
    less = removed * saved
    if not grouping.is_exact and removed < grouping.n_groups:
        members = int(np.sort(grouping.member_counts)[:removed].sum())
        less = saved * members // grouping.group_size
    return max(total - less, 0)


def check_removed(attributes: Mapping[str, LayerAttributes], removed: Mapping[str, int]) -> None:
    """Raise unless ``removed`` holds numbers of at least 0 for layers that are there."""
    for name, number in removed.items():
        if name not in attributes:
            raise InvalidInputError(
                f"removed names a layer that is not there. Received: {spell(name)}"
            )
        _check_removed(name, number)


def prunes(layer_attributes: LayerAttributes, log: logging.Logger, resource: str) -> bool:
    """Tell whether a layer's groups are pruned and nothing else; log a warning if they are shared.

    Where a group may be either pruned or shared it is not known beforehand which it will be, and
    only the first saves anything: then none is counted.

    Parameters
    ----------
    layer_attributes
        The layer.
    log
        The logger of the objective.
    resource
        What sharing does not save, as it stands in the warning.
    """
    chosen = layer_attributes.optimization_attributes
    if chosen is None or not layer_attributes.weight_shape:
        return False
    if chosen.weight_sharing:
        log.warning(
            "Layer %r: weight sharing saves no %s, so none of its groups counts as saved. Allow "
            "pruning only.",
            layer_attributes.name,
            resource,
        )
    return chosen.pruning and not chosen.weight_sharing


def _check_removed(name: str, removed: int) -> None:
    if removed < 0:
        raise InvalidInputError(
            f"the number of groups removed from layer {name!r} must be at least 0. "
            f"Received: {spell(removed)}"
        )
