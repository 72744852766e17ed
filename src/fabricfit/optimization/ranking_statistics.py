"""Derivatives of the loss that rank weights, at a price that follows the training's."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from fabricfit.curvature import Curvature, HessianDiagonal
from fabricfit.curvature.effort import Effort
from fabricfit.losses import ModelLoss
from fabricfit.network.reader import Network
from fabricfit.samples import Data

__all__ = ["RankingStatistics"]

_MOVED = 0.1
"""Relative change of a network's weights up to which second derivatives serve on: the root of the sum of the
squares of what changed, over that of the weights."""


class RankingStatistics:
    """Gradients and second derivatives of the loss in kernels, with a network's weights of the moment.

    Second derivatives whose price has to be bounded are computed anew only where the weights have moved.

    Parameters
    ----------
    loss
        The loss whose derivatives they are.
    needs
        Which there are to be: ``'gradients'``, ``'hessians'`` or both.
    samples
        Samples for second derivatives; None to follow the price of training.
    """

    def __init__(self, loss: ModelLoss, needs: Collection[str], samples: int | None) -> None:
        self._loss = loss
        self._needs = needs
        self._samples = samples
        self._curvature: Curvature | None = None
        self._known: HessianDiagonal | None = None
        self._known_at: Mapping[str, np.ndarray] = {}
        self.description = ""
        """How the second derivatives were last computed, and how exactly."""

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
        if known is None or known.model is not network.model or set(known.kernels) != set(wanted):
            self._curvature = Curvature(network, wanted, self._loss)
            self._known = None
        found = {}
        if "gradients" in self._needs:
            assert self._curvature is not None
            found["gradients"] = self._curvature.gradients(data.X, data.y)
        if "hessians" in self._needs:
            found["hessians"] = dict(self._find_hessians(network, data, part).values)
        return found

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


def _has_moved(before: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> bool:
    change = sum(float(np.square(now[key] - old).sum()) for key, old in before.items())
    size = sum(float(np.square(old).sum()) for old in before.values())
    return not change <= _MOVED**2 * size
