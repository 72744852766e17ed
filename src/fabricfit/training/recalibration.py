"""Recalibration of the statistics of batch normalizations from data.

Pruning a layer moves the mean and the variance of its results; the moving statistics of the normalization
behind it are those of the layer before. To recompute them costs a forward pass and no training, and makes the
metric of pruned weights far more meaningful.

References
----------
B. Li et al., "EagleEye: fast sub-net evaluation for efficient neural network pruning", ECCV 2020,
arXiv:2007.02491. Y. Wu and J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, arXiv:2105.07576.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.samples import Dataset, samples_in, tensors
from fabricfit.training.engine import Engine

__all__ = ["Recalibration"]


class Recalibration:
    """Recomputes the statistics of the batch normalizations of an engine's model.

    The data pass in training mode, batch by batch: means are averaged, and variances are those within batches
    and between them. Dropout is active, as it was when the old statistics were made.

    Parameters
    ----------
    engine
        Whose model it is.
    data
        Samples to pass.
    samples
        At most how many of them; 0 for none, so that nothing is done.
    batch_size
        Samples in a batch.
    """

    def __init__(self, engine: Engine, data: Dataset, samples: int, batch_size: int) -> None:
        self._engine = engine
        layers = engine.network.layers.values()
        self._layers = [each for each in layers if _has_statistics(each)] if samples else []
        self._batches = (
            list(data.arrays(samples).head(samples).batches(batch_size)) if self._layers else []
        )
        others = engine.model.non_trainable_variables
        places = {id(variable): place for place, variable in enumerate(others)}
        self._places = [
            (places[id(layer.moving_mean)], places[id(layer.moving_variance)])
            for layer in self._layers
        ]
        self._compiled_moments = engine.compiled(self._compute_moments, batches=1)

    @property
    def does_something(self) -> bool:
        """Whether the model has statistics that are recomputed."""
        return bool(self._layers)

    def __call__(self) -> None:
        """Recompute the statistics for the present weights."""
        count = 0
        sums: list[np.ndarray] = []
        model = self._engine.model
        for X, _ in self._batches:
            weights = [variable.value for variable in model.trainable_variables]
            others = [variable.value for variable in model.non_trainable_variables]
            found = self._compiled_moments(*tensors((weights, others, X)))
            moments = [np.asarray(keras.ops.convert_to_numpy(each), np.float64) for each in found]
            size = samples_in(X)
            parts = [
                part
                for mean, variance in zip(moments[::2], moments[1::2], strict=True)
                for part in (size * mean, size * (variance + mean**2))
            ]
            sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
            count += size
        for layer, first, second in zip(self._layers, sums[::2], sums[1::2], strict=True):
            mean = first / count
            layer.moving_mean.assign(mean.astype("float32"))
            layer.moving_variance.assign(np.maximum(second / count - mean**2, 0).astype("float32"))

    def _compute_moments(self, weights: list[Any], others: list[Any], X: Any) -> list[Any]:
        """Return mean and variance of one batch at each normalization, as a pure function."""
        # From zero, one step makes a moving statistic the batch's own, times 1 - momentum.
        start = list(others)
        for places in self._places:
            for place in places:
                start[place] = keras.ops.zeros_like(others[place])
        _, updated = self._engine.model.stateless_call(weights, start, X, training=True)
        return [
            updated[place] / (1 - layer.momentum)
            for layer, places in zip(self._layers, self._places, strict=True)
            for place in places
        ]


def _has_statistics(layer: Any) -> bool:
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and layer.momentum < 1
    )
