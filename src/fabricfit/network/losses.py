"""Loss of a training, however it is described: one resolver for training, curvature and settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from fabricfit.errors import InvalidInputError, InvalidTypeError

__all__ = ["resolve_loss", "separate_samples"]


def resolve_loss(loss_fn: Any) -> Callable[[Any, Any], Any]:
    """Return the loss that a description stands for; a loss object or a function is returned as it is.

    Parameters
    ----------
    loss_fn
        One loss for all outputs: its name, what ``keras.losses.serialize`` returns, a
        ``keras.losses.Loss`` or a class of such, or a function of ``(y_true, y_pred)``.

    Raises
    ------
    InvalidInputError
        Keras knows no loss by this name or description.
    InvalidTypeError
        It is none of these.
    """
    if not callable(loss_fn) and not isinstance(loss_fn, str | dict):
        raise InvalidTypeError(
            "loss_fn must be one loss for all outputs: a keras.losses.Loss, its name, what "
            "keras.losses.serialize returns, or a function of (y_true, y_pred). "
            f"Received: loss_fn={loss_fn!r}"
        )
    try:
        loss: Callable[[Any, Any], Any] = keras.losses.get(loss_fn)
    except Exception as error:  # of several kinds, for descriptions that lack something
        raise InvalidInputError(
            "loss_fn must be a loss that Keras knows, for example 'categorical_crossentropy' or what "
            "keras.losses.serialize returns; give a loss of your own as the object or function itself. "
            f"Received: loss_fn={loss_fn!r}"
        ) from error
    if type(loss) is keras.losses.Loss:  # the base of all of them, which computes nothing
        raise InvalidInputError(
            "loss_fn must compute something, for example keras.losses.MeanSquaredError(). "
            f"Received: loss_fn={loss_fn!r}, the base class of losses"
        )
    return loss


def separate_samples(loss_fn: Any) -> Callable[[Any, Any], Any]:
    """Return a loss that does not reduce over samples, if that can be helped.

    A function is returned as it is. Of a loss object a copy is made, without its reduction.

    Parameters
    ----------
    loss_fn
        As for :func:`resolve_loss`.
    """
    loss = resolve_loss(loss_fn)
    if not isinstance(loss, keras.losses.Loss):
        return loss
    # copy.copy would go by the loss's configuration, which lacks parameters of some of Keras' own losses.
    copied = object.__new__(type(loss))
    vars(copied).update(vars(loss), reduction=None)
    return copied
