"""Loss of one output, however it is described, as the ``keras.losses.Loss`` that Keras would make of it."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.errors import InvalidInputError, InvalidTypeError, spell

__all__ = [
    "align_ranks",
    "broadcasts_labels",
    "function_of",
    "options_of",
    "resolve_loss",
    "separate_samples",
]

LossFunction: Any = keras.losses.MeanSquaredError.__base__
"""Keras' loss made of a function: it aligns ranks, and Keras exports it by no name."""


class Crossentropy(keras.losses.Loss):
    """The crossentropy that suits the shapes of labels and outputs, by Keras' rule for this name."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample."""
        return LossFunction(choose_crossentropy(y_true, y_pred)).call(y_true, y_pred)


def choose_crossentropy(y_true: Any, y_pred: Any) -> Any:
    """Return the function that ``'crossentropy'`` means for arrays of these shapes."""
    if y_pred.shape[-1] == 1:
        return keras.losses.binary_crossentropy
    if is_sparse(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy
    return keras.losses.categorical_crossentropy


def is_sparse(y_true: Any, y_pred: Any) -> bool:
    """Whether labels are numbers of classes, where outputs have a value for each class: Keras' rule."""
    labels, outputs = tuple(y_true.shape), tuple(y_pred.shape)
    return len(labels) < len(outputs) or (labels[-1] == 1 and outputs[-1] > 1)


def resolve_loss(loss_fn: Any, argument: str = "loss_fn") -> keras.losses.Loss:
    """Return the loss object that the description of a loss stands for; an object is returned as it is.

    Parameters
    ----------
    loss_fn
        A name, what ``keras.losses.serialize`` returns, a ``keras.losses.Loss`` or a class of such, or a
        function of ``(y_true, y_pred)``. A function becomes a loss as in ``model.compile``: labels are
        cast to the type of the outputs, and ``(n,)`` goes with ``(n, 1)``.
    argument
        What to call it in an error.

    Raises
    ------
    InvalidInputError
        Keras knows no loss by this name or description.
    InvalidTypeError
        It is none of these.
    """
    if not callable(loss_fn) and not isinstance(loss_fn, str | dict):
        raise InvalidTypeError(
            f"{argument} must be a loss, or one for each output in a dict by output name or in a list: a "
            "keras.losses.Loss, its name, what keras.losses.serialize returns, or a function of "
            f"(y_true, y_pred). Received: {argument}={spell(loss_fn)}"
        )
    if isinstance(loss_fn, str) and loss_fn.lower() in ("crossentropy", "ce"):
        return Crossentropy(name=loss_fn)
    try:
        loss = keras.losses.get(loss_fn)
    except Exception as error:  # of several kinds, for descriptions that lack something
        raise InvalidInputError(
            f"{argument} must be a loss that Keras knows, for example 'categorical_crossentropy' or what "
            "keras.losses.serialize returns; give a loss of your own as the object or function itself. "
            f"Received: {argument}={spell(loss_fn)}"
        ) from error
    if type(loss) is keras.losses.Loss:  # the base of all of them, which computes nothing
        raise InvalidInputError(
            f"{argument} must compute something, for example keras.losses.MeanSquaredError(). "
            f"Received: {argument}={spell(loss_fn)}, the base class of losses"
        )
    if isinstance(loss, keras.losses.Loss):
        return loss
    if not callable(loss):
        raise InvalidTypeError(f"{argument} must be a loss. Received: {argument}={spell(loss_fn)}")
    name = loss_fn if isinstance(loss_fn, str) else getattr(loss, "__name__", type(loss).__name__)
    return LossFunction(
        loss, name=re.sub(r"\W", "", name) or "loss"
    )  # TensorFlow takes no '<lambda>'


def function_of(loss: keras.losses.Loss) -> Any:
    """Return Keras' own function that a loss computes, exactly; None for any other."""
    module = type(loss).__module__.split(".")[0]
    return getattr(loss, "fn", None) if module == "keras" else None


def options_of(loss: keras.losses.Loss) -> dict[str, Any]:
    """Return what a loss passes to its function: ``from_logits``, ``ignore_class`` and such."""
    return dict(getattr(loss, "_fn_kwargs", {}))


def separate_samples(loss: keras.losses.Loss, **options: Any) -> keras.losses.Loss:
    """Return a copy of a loss that does not reduce over samples.

    Parameters
    ----------
    loss
        A loss; it is not changed.
    options
        Other values for what it passes to its function.
    """
    # copy.copy would go by the loss's configuration, which lacks parameters of some of Keras' own losses.
    copied = object.__new__(type(loss))
    vars(copied).update(vars(loss), reduction=None)
    if options:
        copied._fn_kwargs = {**options_of(loss), **options}
    return copied


def align_ranks(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Give labels ``(n,)`` the shape of outputs ``(n, 1)``, and the other way round, as Keras' losses do."""
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
        return ops.expand_dims(y_true, -1), y_pred
    if len(y_true.shape) == len(y_pred.shape) + 1 and y_true.shape[-1] == 1:
        return ops.squeeze(y_true, -1), y_pred
    return y_true, y_pred


def broadcasts_labels(loss: keras.losses.Loss, shape: tuple[int | None, ...]) -> bool:
    """Whether a loss of the user's own mixes samples where labels ``(n,)`` meet outputs ``(n, 1)``.

    Keras aligns them for functions and for its own losses, not for other subclasses, where subtracting
    them makes an array ``(n, n)``. Tried on three samples: the loss of all must be the mean of the
    losses of each.

    Parameters
    ----------
    loss
        A loss.
    shape
        Shape of an output, for one sample.
    """
    if shape[-1:] != (1,) or len(shape) != 1 or isinstance(loss, LossFunction):
        return False
    y, p = np.array([0, 1, 1], "float32"), np.array([[0.2], [0.4], [0.9]], "float32")
    alone = separate_samples(loss)

    def differ(y: Any) -> bool:
        whole = np.mean(ops.convert_to_numpy(alone(y, p)))
        parts = [np.mean(ops.convert_to_numpy(alone(y[i : i + 1], p[i : i + 1]))) for i in range(3)]
        return not np.isclose(whole, np.mean(parts), rtol=1e-4)

    try:
        return differ(y) and not differ(y[:, None])
    except Exception:  # whatever a loss does with other labels than its own
        return False
