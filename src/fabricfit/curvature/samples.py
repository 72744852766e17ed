"""A data set in batches: inputs, targets, and the weight of each sample."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from fabricfit.checks import optional_whole_number
from fabricfit.losses import ModelLoss, options_of
from fabricfit.network.ends import Targets
from fabricfit.samples import Data

__all__ = ["Batch", "Samples"]


class Batch(NamedTuple):
    """A batch of a data set.

    ``x`` is structured as the model expects it, ``y`` holds the targets, ``weights`` is 1 for a real
    sample and 0 for padding, shape ``(batch,)``.
    """

    x: Any
    y: Targets
    weights: np.ndarray


class Samples:
    """Inputs and targets of a model, all or some.

    Parameters
    ----------
    data
        The samples, as the model expects them.
    losses
        The loss of each output. Labels that it ignores get the weight 0; and where it divides by the
        weights of samples rather than by their number, they are divided by their mean.
    most
        Largest number of samples; of more, as many are drawn without replacement.
    seed
        Seed of that draw, and of the order.
    shuffled
        Whether the samples are in random order rather than in their own.

    Raises
    ------
    InvalidInputError
        ``most`` is no positive number.
    """

    def __init__(
        self,
        data: Data,
        losses: ModelLoss,
        most: int | None = None,
        seed: int = 0,
        *,
        shuffled: bool = False,
    ) -> None:
        most, count = optional_whole_number("samples", most), len(data)
        rng = np.random.default_rng(seed)
        if most is not None and most < count:
            data = data.take(np.sort(rng.choice(count, most, replace=False)))
        if shuffled:
            data = data.take(rng.permutation(len(data)))
        self._x, y = keras.tree.map_structure(_as_computed, (data.X, data.y))
        self._losses = losses
        self._given = y
        self._y = self._weigh([None] * len(y.labels))
        self.size = len(data)

    @property
    def kind(self) -> Hashable:
        """What a compiled step depends on: structure, shapes and types, but for the samples."""
        structure = str(keras.tree.map_structure(lambda _: 0, (self._x, self._y)))
        leaves = keras.tree.flatten((self._x, self._y))
        return structure, tuple((leaf.shape[1:], leaf.dtype.str) for leaf in leaves)

    def mask(self, masks: Sequence[Any]) -> None:
        """Leave out what a model masks.

        Parameters
        ----------
        masks
            For each output, which of its values count, shape ``(samples, …)``; None for all.
        """
        self._y = self._weigh(masks)

    def _weigh(self, masks: Sequence[Any]) -> Targets:
        """Return targets whose weights hold what is ignored or masked, and what losses do with weights."""
        labels = list(self._given.labels)
        weights: list[np.ndarray | None] = []
        for place, (label, used) in enumerate(zip(labels, masks, strict=True)):
            loss = self._losses.losses[place if self._losses.names else 0]
            given = self._given.weights_of(place)
            if loss is None or isinstance(label, tuple):
                weights.append(None)
                continue
            ignored = options_of(loss).get("ignore_class")
            if ignored is not None:
                counted = np.reshape(label != ignored, _shape_of_values(label))
                used = counted if used is None else counted & used
                labels[place] = np.where(label != ignored, label, 0)
            weights.append(_leave_out(given, used, loss.reduction))
        tidy = () if all(each is None for each in weights) else weights
        return self._given._replace(
            labels=tuple(labels), weights=tuple(() if each is None else each for each in tidy)
        )

    def batch(self, start: int, size: int, *, pad: bool = True) -> Batch:
        """Return the samples from ``start`` on, padded to ``size`` by the first of them."""
        count = min(size, self.size - start)
        index = np.arange(start, start + count)
        weights = np.ones(count, np.float32)
        if pad and count < size:
            index = np.concatenate([index, np.full(size - count, start)])
            weights = np.concatenate([weights, np.zeros(size - count, np.float32)])
        x, y = keras.tree.map_structure(lambda leaf: leaf[index], (self._x, self._y))
        return Batch(x, y, weights)

    def batches(self, size: int, *, pad: bool = True) -> Iterator[Batch]:
        """Iterate over the data once, in order.

        Parameters
        ----------
        size
            Samples in a batch; at most the whole set.
        pad
            Whether the last batch is padded, by samples of weight 0, to the size of the others.
        """
        size = min(size, self.size)
        for start in range(0, self.size, size):
            yield self.batch(start, size, pad=pad)


def _as_computed(array: np.ndarray) -> np.ndarray:
    wanted = keras.config.floatx() if array.dtype.kind == "f" else np.int32
    return array.astype(wanted, copy=False)


def _shape_of_values(label: np.ndarray) -> tuple[int, ...]:
    """Return the shape of a loss for labels that are numbers of classes."""
    return label.shape[:-1] if label.ndim > 1 and label.shape[-1] == 1 else label.shape


def _leave_out(
    weights: np.ndarray | None, used: np.ndarray | None, reduction: str | None
) -> np.ndarray | None:
    """Return weights that are 0 for what is not used, and make up for it as a loss of Keras does."""
    if used is not None:
        share = 1.0 if reduction in ("sum", "mean_with_sample_weight") else max(used.mean(), 1e-30)
        factor = (used / share).astype(keras.config.floatx())
        if weights is None:
            weights = factor
        else:
            weights = weights.reshape(weights.shape + (1,) * (factor.ndim - weights.ndim)) * factor
    if weights is not None and reduction == "mean_with_sample_weight":
        weights = weights / max(weights.mean(), 1e-30)
    return weights
