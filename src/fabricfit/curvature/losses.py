"""Loss as a sum over samples, to which each batch adds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.losses import ModelLoss, options_of, separate_samples
from fabricfit.network.ends import Targets

__all__ = ["LossSum"]


class LossSum:
    """The mean loss of a data set times its number of samples: a sum to which each batch adds.

    A value for each sample (of any further shape, over which it is averaged) is weighted. One
    value for a whole batch counts as the batch's mean, so such batches must not be padded.
    With several outputs the losses of all of them add up, each times its weight.

    Parameters
    ----------
    losses
        The loss of each output.
    """

    def __init__(self, losses: ModelLoss) -> None:
        self.losses = losses.mapped(_separate)

    def is_per_sample(self, y: Targets, outputs: Any) -> bool:
        """Whether the loss has a value for each sample of a batch."""
        plain = y._replace(weights=())
        return all(len(value.shape) > 0 for _, value in self._values(plain, outputs))

    def __call__(self, y: Targets, outputs: Any, weights: Tensor) -> Tensor:
        """Add up a batch.

        Parameters
        ----------
        y
            Targets of the batch.
        outputs
            What the model returned.
        weights
            Shape ``(batch,)``, 0 for padding.

        Returns
        -------
        scalar tensor
        """
        total: Tensor = 0.0
        for factor, value in self._values(y, outputs):
            if len(value.shape) == 0:
                total = total + factor * value * ops.sum(weights)
            else:
                flat = ops.reshape(value, (value.shape[0], -1))
                total = total + factor * ops.sum(ops.mean(flat, axis=1) * weights)
        return total

    def _values(self, y: Targets, outputs: Any) -> list[tuple[float, Tensor]]:
        """Return weight and values of the loss of each output; ``'sum'`` adds what others average."""
        found = []
        for loss, factor, label, output, samples in self.losses.matched(y, outputs):
            value = ops.cast(loss(label, output, samples), keras.config.floatx())
            if getattr(loss, "adds_up", False) and len(value.shape) > 1:
                factor *= _size(value)
            found.append((factor, value))
        return found


def _size(value: Tensor) -> int:
    """Return how many values a loss has for one sample."""
    return int(np.prod([int(each) for each in value.shape[1:]]))


def _separate(loss: keras.losses.Loss) -> keras.losses.Loss:
    """Return a loss without its reduction; labels that it ignores are left to the weights of samples."""
    ignores = options_of(loss).get("ignore_class") is not None
    separate = separate_samples(loss, **({"ignore_class": None} if ignores else {}))
    separate.adds_up = loss.reduction == "sum"
    return separate
