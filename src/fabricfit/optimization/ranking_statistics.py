"""Derivatives of the loss that rank weights, at a price that follows the training's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fabricfit.choices.ranking import saliency
from fabricfit.curvature import Curvature, HessianDiagonal
from fabricfit.curvature.effort import Effort, choose_samples
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.coupled_units import bundle_units
from fabricfit.errors import InvalidInputError
from fabricfit.losses import ModelLoss
from fabricfit.network.reader import Network
from fabricfit.samples import Data

__all__ = ["RankingStatistics"]

_MOVED = 0.1
"""Relative change of a network's weights up to which second derivatives serve on: the root of the sum of the
squares of what changed, over that of the weights."""


class RankingStatistics:
    """Derivatives of the loss in kernels and in units, with a network's weights of the moment.

    Second derivatives whose price has to be bounded are computed anew only where the weights have moved.

    Parameters
    ----------
    loss
        The loss whose derivatives they are.
    needs
        Which there are to be, of :data:`fabricfit.choices.ranking.STATISTICS`.
    attributes
        Layer -> attributes, with the units that can only be removed together.
    samples
        Samples for second derivatives; None to follow the price of training.
    """

    def __init__(
        self,
        loss: ModelLoss,
        needs: Collection[str],
        attributes: Mapping[str, LayerAttributes],
        samples: int | None,
    ) -> None:
        self._loss = loss
        self._needs = needs
        self._attributes = attributes
        self._bundles = bundle_units(attributes) if "removals" in needs else []
        numbers = [each for layer in attributes.values() for each in layer.unit_classes]
        self._classes = max(numbers, default=-1) + 1
        if "removals" in needs and not self._bundles:
            raise InvalidInputError(
                "ranking_metric='removal' needs an objective that removes whole units, such as "
                "GPUFLOPEstimator or UnitResources. Use ranking_metric='saliency' with this one."
            )
        self._samples = samples
        self._curvature: Curvature | None = None
        self._known: HessianDiagonal | None = None
        self._known_at: Mapping[str, np.ndarray] = {}
        self.description = ""
        """How the second derivatives were last computed, and how exactly."""

    def pack(self) -> dict[str, Any]:
        """Return what serves on until the weights have moved, as plain values and arrays."""
        kept = {"description": self.description}
        if self._known is None or not self._known_at:
            return kept
        return {
            **kept,
            "known": [dict(each) for each in vars(self._known).values()],
            "at": dict(self._known_at),
        }

    def restore(self, packed: Mapping[str, Any]) -> None:
        """Go on with what :meth:`pack` returned."""
        self.description = packed.get("description", "")
        if "known" in packed:
            self._known, self._known_at = HessianDiagonal(*packed["known"]), packed["at"]

    def compute(
        self, network: Network, layers: Collection[str], data: Data, part: float = 1.0
    ) -> dict[str, dict[str, np.ndarray]]:
        """Return what is needed, for each of some layers.

        Parameters
        ----------
        network
            Its present weights are where the loss is differentiated.
        layers
            Layers whose weights are ranked; no others are differentiated in.
        data
            The samples that there are.
        part
            Part of the usual samples: below 1 for a rough ranking, which is not kept.
        """
        if not self._needs:
            return {}
        kernels = {key: each for key, each in network.kernels.items() if key in layers}
        wanted = {key: each.variable for key, each in kernels.items()}
        known = self._curvature
        if known is None:
            self._curvature = Curvature(network, wanted, self._loss)
        elif known.model is not network.model or set(known.kernels) != set(wanted):
            self._curvature = Curvature(network, wanted, self._loss)
            self._known = None
        found = {}
        assert self._curvature is not None
        if "gradients" in self._needs:
            found["gradients"] = self._curvature.gradients(data.X, data.y)
        if "removals" in self._needs:
            found["removals"] = self._find_removals(network, self._curvature, data, part)
        if "hessians" in self._needs:
            found["hessians"] = dict(self._find_hessians(network, data, part).values)
        return found

    def _find_removals(
        self, network: Network, curvature: Curvature, data: Data, part: float
    ) -> dict[str, np.ndarray]:
        """Return the loss of removing each unit, divided among its weights.

        Where it is not known what receives a unit, the losses of its single weights stand for it.
        """
        samples = self._samples or choose_samples(len(data), part)
        channels = _list_channels(network, self._attributes)
        losses = curvature.removals(data.X, data.y, channels, self._classes, samples=samples)
        kernels = network.optimizable_kernels(self._attributes)
        units = {
            name: np.zeros(self._attributes[name].grouping.n_groups)
            for bundle in self._bundles
            for name in bundle.members
        }
        single: Mapping[str, np.ndarray] = {}
        for bundle in self._bundles:
            of_classes = losses[bundle.classes]
            unknown = np.isnan(of_classes)
            if unknown.any() and not single:
                single = self._add_up_weights(kernels, self._find_hessians(network, data, part))
            parts = sum(each.shape[1] for each in bundle.members.values())
            for name, members in bundle.members.items():
                units[name][members] = (of_classes / parts)[:, None]
                units[name][members[unknown]] = single[name][members[unknown]] if single else 0
        found = {}
        for name, each in units.items():
            grouping = self._attributes[name].grouping
            found[name] = grouping.spread(each / grouping.member_counts)
        return found

    def _add_up_weights(
        self, kernels: Mapping[str, np.ndarray], diagonal: HessianDiagonal
    ) -> dict[str, np.ndarray]:
        """Return for each kernel what its units' single weights lose, by the diagonal of the Hessian."""
        return {
            name: self._attributes[name]
            .grouping.to_groups(saliency(kernel, hessians=diagonal.values[name]))
            .sum(axis=1)
            for name, kernel in kernels.items()
        }

    def _find_hessians(self, network: Network, data: Data, part: float) -> HessianDiagonal:
        assert self._curvature is not None
        effort = self._curvature.choose_effort(data.X, data.y, samples=self._samples, part=part)
        if part < 1:
            return self._curvature.hessians(data.X, data.y, **effort._asdict())
        present = network.kernel_arrays() if effort != Effort() else {}
        if self._known is None or not present or _has_moved(self._known_at, present):
            self._known = self._curvature.hessians(data.X, data.y, **effort._asdict())
            self._known_at = present
            self.description = self._known.summary()
        return self._known


def _list_channels(
    network: Network, attributes: Mapping[str, LayerAttributes]
) -> dict[str, tuple[Any, np.ndarray]]:
    """Return for each kernel that receives units its layer, and the class of each channel.

    A depthwise convolution hands its channels on: who receives them is behind it.
    """
    found = {}
    for name, layer in attributes.items():
        if layer.row_classes and layer.layer_name in network.layers:
            rows = np.array(layer.row_classes)
            own = np.isin(rows, layer.unit_classes)
            found[name] = (network.layers[layer.layer_name], np.where(own, -1, rows))
    return found


def _has_moved(before: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> bool:
    change = sum(float(np.square(now[key] - old).sum()) for key, old in before.items())
    size = sum(float(np.square(old).sum()) for old in before.values())
    return not change <= _MOVED**2 * size
