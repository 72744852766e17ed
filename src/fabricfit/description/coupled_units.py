"""Units of several kernels that are removed together, as items to choose from.

A residual sum couples the filters of two convolutions, a depthwise convolution its channels with the filters
before it, a recurrent kernel its units with those of the kernel. Such units form a **class**: all of them are
removed, or none. Classes that touch the same kernels save the same; they form a **bundle**.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.structures import SUPPORTED_STRUCTURES

__all__ = ["Bundle", "bundle_units", "find_removed_classes", "is_coupled", "reduced_sizes"]


@dataclass(frozen=True)
class Bundle:
    """Classes of units that touch the same kernels.

    Parameters
    ----------
    classes
        Their numbers, shape ``(n,)``.
    members
        Kernel -> its units in each class, shape ``(n, m)``.
    """

    classes: np.ndarray
    members: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        """The kernels' names."""
        return " + ".join(self.members)


def is_coupled(layer: LayerAttributes) -> bool:
    """Whether a kernel is pruned unit by unit, and it is known what is removed with each unit."""
    settings = layer.optimization_attributes
    return (
        layer.optimizable
        and bool(layer.unit_classes)
        and settings is not None
        and settings.structure_type is SUPPORTED_STRUCTURES.STRUCTURED
    )


def bundle_units(attributes: Mapping[str, LayerAttributes]) -> list[Bundle]:
    """Return the classes of units that can be removed, those that touch the same kernels together."""
    members: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, layer in attributes.items():
        if is_coupled(layer):
            for unit, number in enumerate(layer.unit_classes):
                if number >= 0:
                    members[number].append((name, unit))
    alike: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for number, units in members.items():
        counts = Counter(name for name, _ in units)
        alike[tuple(counts.items())].append(number)
    bundles = []
    for signature, numbers in alike.items():
        found = {
            name: np.array([[u for n, u in members[number] if n == name] for number in numbers])
            for name, _ in signature
        }
        bundles.append(Bundle(np.array(numbers), found))
    return bundles


def find_removed_classes(
    attributes: Mapping[str, LayerAttributes], kernels: Mapping[str, np.ndarray]
) -> list[int]:
    """Return the classes none of whose units has a weight other than zero."""
    removed: list[int] = []
    for bundle in bundle_units(attributes):
        zero = np.ones(bundle.classes.size, bool)
        for name, units in bundle.members.items():
            groups = attributes[name].grouping.to_groups(kernels[name])
            zero &= ~groups.any(axis=1)[units].any(axis=1)
        removed += bundle.classes[zero].tolist()
    return removed


def reduced_sizes(
    attributes: Mapping[str, LayerAttributes], removed: Iterable[int]
) -> dict[str, tuple[int, int]]:
    """Return rows and units of each kernel without some classes, where it is known what they touch."""
    missing = np.array(sorted(set(removed)), int)
    sizes = {}
    for name, layer in attributes.items():
        if not layer.unit_classes:
            continue
        units_left = ~np.isin(layer.unit_classes, missing)
        rows = layer.axes.n_rows
        if layer.row_classes:
            channels_left = ~np.isin(layer.row_classes, missing)
            rows = rows // channels_left.size * int(channels_left.sum())
        sizes[name] = (rows, int(units_left.sum()))
    return sizes
