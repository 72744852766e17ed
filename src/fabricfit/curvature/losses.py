"""Loss as a sum over samples, to which each batch adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.errors import InvalidInputError
from fabricfit.network.losses import separate_samples

__all__ = ["LossSum"]


class LossSum:
    """The mean loss of a data set times its number of samples: a sum to which each batch adds.

    A value for each sample (of any further shape, over which it is averaged) is weighted. One
    value for a whole batch counts as the batch's mean, so such batches must not be padded.
    With several outputs the losses of all of them add up.

    Parameters
    ----------
    loss_fn
        As for :func:`fabricfit.network.losses.resolve_loss`.
    """

    def __init__(self, loss_fn: Any) -> None:
        self.function = separate_samples(loss_fn)

    def is_per_sample(self, y: Sequence[Tensor], outputs: Any) -> bool:
        """Whether the loss has a value for each sample of a batch."""
        return all(len(value.shape) > 0 for value in self._values(y, outputs))

    def __call__(self, y: Sequence[Tensor], outputs: Any, weights: Tensor) -> Tensor:
        """Add up a batch.

        Parameters
        ----------
        y
            Targets, one array of shape ``(batch, …)`` for each output.
        outputs
            What the model returned.
        weights
            Shape ``(batch,)``, 0 for padding.

        Returns
        -------
        scalar tensor
        """
        total: Tensor = 0.0
        for value in self._values(y, outputs):
            if len(value.shape) == 0:
                total = total + value * ops.sum(weights)
            else:
                flat = ops.reshape(value, (value.shape[0], -1))
                total = total + ops.sum(ops.mean(flat, axis=1) * weights)
        return total

    def _values(self, y: Sequence[Tensor], outputs: Any) -> list[Tensor]:
        predictions = keras.tree.flatten(outputs)
        if len(y) != len(predictions):
            raise InvalidInputError(
                f"y must hold one array for each of the model's {len(predictions)} outputs. "
                f"Received: {len(y)}"
            )
        values = []
        for target, prediction in zip(y, predictions, strict=True):
            prediction = ops.cast(prediction, keras.config.floatx())
            target = ops.cast(target, prediction.dtype)
            if len(target.shape) == len(prediction.shape) - 1 and prediction.shape[-1] == 1:
                target = ops.expand_dims(target, -1)
            value = self.function(target, prediction)
            values.append(ops.cast(value, prediction.dtype))
        return values
