"""A loss, however it was given, as a sum over samples that a batch can contribute to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from fabricfit.curvature.autodiff import Tensor
from fabricfit.errors import InvalidInputError, InvalidTypeError

__all__ = ["LossSum", "resolve_loss"]


def resolve_loss(loss_fn: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function ``(y_true, y_pred)`` that does not reduce over samples if it can be helped.

    Parameters
    ----------
    loss_fn
        The name of a loss, a ``keras.losses.Loss`` of any reduction, or a function. The object
        itself is not changed.

    Raises
    ------
    InvalidInputError
        Keras knows no loss of this name.
    InvalidTypeError
        It is none of the three.
    """
    if isinstance(loss_fn, str):
        try:
            loss_fn = keras.losses.get(loss_fn)
        except ValueError as error:
            raise InvalidInputError(
                "loss_fn must be the name of a loss that Keras knows, for example "
                f"'categorical_crossentropy'. Received: {loss_fn!r}"
            ) from error
    if isinstance(loss_fn, keras.losses.Loss):
        loss_fn = copy.copy(loss_fn)
        loss_fn.reduction = None
        return loss_fn
    if callable(loss_fn):
        return loss_fn
    raise InvalidTypeError(
        "loss_fn must be the name of a loss, a keras.losses.Loss or a function (y_true, y_pred). "
        f"Received: {loss_fn!r}"
    )


class LossSum:
    """The mean loss of a data set times its number of samples: a sum to which each batch adds.

    A value for each sample (of any further shape, over which its mean is taken) is weighted. One
    value for a whole batch is taken for the batch's mean, so such batches must not be padded.
    With several outputs the losses of all of them add up.

    Parameters
    ----------
    loss_fn
        As :func:`resolve_loss` takes it.
    """

    def __init__(self, loss_fn: Any) -> None:
        self.function = resolve_loss(loss_fn)

    def is_per_sample(self, y: Sequence[Tensor], outputs: Any) -> bool:
        """Whether the loss tells the samples of a batch apart."""
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
