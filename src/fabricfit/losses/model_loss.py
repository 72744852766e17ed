"""Loss of a model: a loss and a weight for each output, as ``model.compile`` accepts them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import ops

from fabricfit.checks import instance, optional_number
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.losses.resolve import align_ranks, broadcasts_labels, resolve_loss
from fabricfit.network.ends import Side, Targets

__all__ = ["ModelLoss", "check_loss_weights", "check_losses"]


class ModelLoss:
    """The loss that a model is trained with: the weighted sum of the losses of its outputs.

    It is what Keras' ``fit`` minimizes, computed by Keras' own losses, with its own handling of ranks, types,
    masks, weights of samples and reductions.

    Parameters
    ----------
    loss_fn
        A loss, as for :func:`fabricfit.losses.resolve.resolve_loss`, which then serves every output by
        itself; or one for each, in a dict by output name or a list in the order of outputs. An output
        with None, or that a dict leaves out, has none.
    loss_weights
        What the outputs' losses are multiplied by: a dict by output name, a list, a number for a single
        output; None for 1.
    outputs
        The model's outputs; None for a model that cannot be read, where one loss serves whatever it returns.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        It is no loss, or does not fit the outputs.
    """

    def __init__(self, loss_fn: Any, loss_weights: Any = None, outputs: Side | None = None) -> None:
        if outputs is not None:
            instance("outputs", outputs, Side)
        check_losses(loss_fn, loss_weights)
        self.names = () if outputs is None else outputs.names
        self.described = _describe_losses(loss_fn, outputs)
        losses = {id(each): resolve_loss(each) for each in self.described if each is not None}
        self.losses = tuple(None if each is None else losses[id(each)] for each in self.described)
        self.weights = _read_weights(loss_weights, outputs)
        shapes = () if outputs is None else outputs.shapes
        # Places of the outputs whose loss, of the user's own, must not see labels of another rank.
        self._broadcasting = frozenset(
            place
            for place, (loss, shape) in enumerate(zip(self.losses, shapes, strict=False))
            if loss is not None and broadcasts_labels(loss, shape)
        )
        if not any(loss is not None for loss in self.losses):
            raise InvalidInputError(
                f"loss_fn must have a loss for at least one output. Received: loss_fn={spell(loss_fn)}"
            )

    @property
    def needed(self) -> tuple[int, ...]:
        """Places of the outputs that have a loss, and so need labels."""
        return tuple(place for place, loss in enumerate(self.losses) if loss is not None)

    def __call__(self, y: Targets, outputs: Any) -> Any:
        """Return the loss of a batch, a scalar."""
        values = [self._reduce(*each) for each in self.matched(y, outputs)]
        return sum(values[1:], start=values[0])

    def _reduce(self, loss: Any, weight: float, label: Any, output: Any, samples: Any) -> Any:
        mask = getattr(output, "_keras_mask", None)
        if samples is not None and mask is not None:
            # A new tensor of the mask's shape: on PyTorch, Keras multiplies weights by masks in place.
            samples = samples * ops.ones_like(mask, dtype=samples.dtype)
        value = ops.cast(loss(label, output, samples), keras.config.floatx())
        if len(value.shape):  # a loss without a reduction
            value = ops.mean(value)
        return value if weight == 1 else value * weight

    def matched(self, y: Targets, outputs: Any) -> Iterator[tuple[Any, float, Any, Any, Any]]:
        """Yield loss, weight, labels, output and weights of samples of each output that has a loss.

        Raises
        ------
        InvalidInputError
            There are labels for too few outputs, or too many.
        """
        predictions = keras.tree.flatten(outputs)
        losses, weights = self.losses, self.weights
        if not self.names:
            losses, weights = losses * len(predictions), weights * len(predictions)
        if not len(y.labels) == len(predictions) == len(losses):
            raise InvalidInputError(
                f"y must hold one array for each of the model's {len(predictions)} outputs. "
                f"Received: {len(y.labels)}"
            )
        for place, (loss, weight) in enumerate(zip(losses, weights, strict=True)):
            if loss is not None:
                label, output = y.labels_of(place), predictions[place]
                if place in self._broadcasting:
                    label, output = align_ranks(label, output)
                yield loss, weight, label, output, y.weights_of(place)

    def mapped(self, change: Callable[[keras.losses.Loss], keras.losses.Loss]) -> ModelLoss:
        """Return the same with other losses: what a function makes of each."""
        copied = copy.copy(self)
        copied.losses = tuple(None if each is None else change(each) for each in self.losses)
        return copied

    def for_compile(self) -> dict[str, Any]:
        """Return the arguments ``loss`` and ``loss_weights`` of ``model.compile``."""
        losses = [
            loss if isinstance(described, Mapping) else described
            for described, loss in zip(self.described, self.losses, strict=True)
        ]
        if len(losses) == 1:
            weight = self.weights[0]
            return {
                "loss": losses[0],
                "loss_weights": None if weight == 1 else float(weight),
            }
        plain = all(weight == 1 for weight in self.weights)
        return {
            "loss": losses,
            "loss_weights": None if plain else list(self.weights),
        }


def check_losses(loss_fn: Any, loss_weights: Any = None) -> None:
    """Refuse what is no loss, or no weights of losses, of whatever model.

    Parameters
    ----------
    loss_fn, loss_weights
        As for :class:`ModelLoss`.
    """
    if _is_by_name(loss_fn):
        found = {f"loss_fn[{name!r}]": each for name, each in loss_fn.items()}
    elif isinstance(loss_fn, (list, tuple)):
        found = {f"loss_fn[{place}]": each for place, each in enumerate(loss_fn)}
    else:
        found = {"loss_fn": loss_fn}
    if loss_fn is not None and all(each is None for each in found.values()):
        raise InvalidInputError(
            f"loss_fn must have a loss for at least one output. Received: loss_fn={spell(loss_fn)}"
        )
    for argument, each in found.items():
        if each is not None or argument == "loss_fn":
            resolve_loss(each, argument)
    check_loss_weights(loss_weights)


def check_loss_weights(loss_weights: Any) -> None:
    """Refuse what is no weights of losses, of whatever model; None is 1 for each.

    Parameters
    ----------
    loss_weights
        As for :class:`ModelLoss`.
    """
    if isinstance(loss_weights, Mapping):
        found = list(loss_weights.values())
    else:
        found = list(loss_weights) if isinstance(loss_weights, (list, tuple)) else [loss_weights]
    try:
        if not found:
            raise InvalidInputError
        for each in found:
            optional_number("loss_weights", each)
    except InvalidInputError:
        raise InvalidTypeError(
            "loss_weights must hold finite numbers: a dict by output name, a list in the order of "
            f"outputs, or a number for a single output. Received: loss_weights={spell(loss_weights)}"
        ) from None


def _is_by_name(loss_fn: Any) -> bool:
    """Whether a dict holds losses by output name, rather than describing one."""
    return isinstance(loss_fn, Mapping) and bool(loss_fn) and "class_name" not in loss_fn


def _describe_losses(loss_fn: Any, outputs: Side | None) -> tuple[Any, ...]:
    several = isinstance(loss_fn, (list, tuple))
    if not several and not _is_by_name(loss_fn):
        return (loss_fn,) * (1 if outputs is None else len(outputs))
    if outputs is None:
        raise InvalidInputError(
            "loss_fn must be one loss for all outputs of a model whose graph cannot be read. "
            f"Received: loss_fn={spell(loss_fn)}"
        )
    if not several:
        return tuple(outputs.by_name(loss_fn, "loss_fn", partial=True))
    if len(loss_fn) != len(outputs):
        raise InvalidInputError(
            f"loss_fn must hold a loss, or None, for each of the model's {len(outputs)} outputs: "
            f"{', '.join(map(repr, outputs.names))}. Received: {len(loss_fn)}"
        )
    return tuple(loss_fn)


def _read_weights(loss_weights: Any, outputs: Side | None) -> tuple[float, ...]:
    count = 1 if outputs is None else len(outputs)
    if loss_weights is None:
        return (1.0,) * count
    if isinstance(loss_weights, Mapping) and outputs is not None:
        found = outputs.by_name(loss_weights, "loss_weights", partial=True)
    else:
        found = list(loss_weights) if isinstance(loss_weights, (list, tuple)) else [loss_weights]
    if outputs is None or len(found) != count:
        names = "" if outputs is None else f": {', '.join(map(repr, outputs.names))}"
        raise InvalidInputError(
            f"loss_weights must hold a number for each of the model's {count} output(s){names}. "
            f"Received: loss_weights={spell(loss_weights)}"
        )
    return tuple(1.0 if each is None else float(each) for each in found)
