"""Polishing of small networks: those near a budget, improved weight by weight until they are within it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import keras
import numpy as np

from fabricfit.optimization.trained_setup import TrainedSetup
from fabricfit.precision.choice import Choice
from fabricfit.precision.cost import estimate_luts
from fabricfit.precision.dense_chain import DenseChain, find_chain
from fabricfit.precision.formats import note_widths
from fabricfit.precision.front import Front, Point
from fabricfit.precision.layers import TrainedWeights
from fabricfit.precision.polish import polish
from fabricfit.precision.sums_loss import SumsLoss, find_sums_loss

__all__ = ["Polisher"]

_SMALL = 2500
"""LUTs of adders up to which networks are polished: with more, there are too many weights to try."""

_REACH, _CANDIDATES = 1.3, 2
"""How far above a budget, in parts of it, the best networks are polished, and how many of them."""

_WORTH, _DEARER, _CHEAPER = 0.06, 2.0, 0.5
"""What all LUTs of a network are worth while it is polished, in units of the loss; and by how much more after
each pass that leaves too many of them, or how much less if it does not."""

_PASSES = 3
_SAMPLES, _HEAD = 2**15, 2**11


class Polisher:
    """Polishes chains of dense layers; others would take too long.

    Parameters
    ----------
    setup
        What the run works with.
    count
        Counts the adders of a point.
    """

    def __init__(self, setup: TrainedSetup, count: Callable[[Point], Choice]) -> None:
        self.setup, self._count = setup, count

    def polish_near(
        self, front: Front, luts: float, on_step: Callable[[int, int], None] | None = None
    ) -> Front:
        """Return a front with polished networks besides, for a budget.

        Parameters
        ----------
        front
            The front as it was trained.
        luts
            LUTs of adders that the budget allows for.
        on_step
            Is told how many of how many networks are done.
        """
        if luts > _SMALL or self.setup.threshold is not None or self._layers is None:
            return front
        found = Front(front.increasing, front.points)
        for point in front.within(luts)[:1]:  # estimates of others are off by as much, about
            luts *= point.cost / max(self._count(point).total, 1.0)
        points = front.within(_REACH * luts)[:_CANDIDATES]
        for number, point in enumerate(points):
            if on_step is not None:
                on_step(number, len(points))
            found.points.append(self._polish(point, self._layers, luts))
        return found

    def _polish(self, point: Point, layers: list[TrainedWeights], luts: float) -> Point:
        """Return a point whose single weights were changed where that pays, until it is within a cost."""
        setup, made, engine = self.setup, self.setup.made, self.setup.engine
        engine.set_weights(point.weights)
        note_widths(made, [array[:_HEAD] for array in setup.inputs])
        chain = DenseChain(layers, *self._samples)
        rng = np.random.default_rng(setup.settings.seed)
        price = _WORTH / max(point.cost, 1.0) * (1 if point.cost > luts else _CHEAPER)
        for _ in range(_PASSES):
            polish(layers, chain, price, rng)
            price *= _DEARER if estimate_luts(made) > luts else _CHEAPER
        metric = engine.evaluate(setup.validation, setup.metric)
        return Point(metric, estimate_luts(made), point.epoch, engine.get_weights())

    @cached_property
    def _layers(self) -> list[TrainedWeights] | None:
        return find_chain(self.setup.made)

    @cached_property
    def _samples(self) -> tuple[np.ndarray, SumsLoss]:
        """Inputs of training samples, and what finds their losses from the last layer's sums."""
        assert self._layers is not None
        head = self.setup.training.head(_SAMPLES)
        (inputs,) = keras.tree.flatten(head.X)
        activation = self._layers[-1].layer.activation
        return inputs, find_sums_loss(self.setup.engine.hard_loss, activation, head)
