"""Masked training for training loops of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from fabricfit.description.attributes import LayerAttributes
from fabricfit.errors import InvalidInputError
from fabricfit.losses import check_losses
from fabricfit.network.reader import read_in_place
from fabricfit.optimization.arguments import check_attributes
from fabricfit.training import make_engine

__all__ = ["MaskedBackprop"]


class MaskedBackprop:
    """Training steps that leave frozen weights alone.

    The masks are variables of the compiled step: it is compiled once for each shape of a batch, and
    every call uses the masks of the latest :meth:`update_masks`.

    Parameters
    ----------
    model
        A compiled model; its weights are trained in place, with an optimizer of its optimizer's
        configuration.
    loss_fn
        A loss, its name, or a function of (y_true, y_pred). The model's own regularization losses are
        added.
    attributes
        Layer -> attributes; layers with ``optimizable`` set can be masked.

    Raises
    ------
    InvalidInputError
        The model has no optimizer: compile it first.
    """

    def __init__(
        self, model: keras.Model, loss_fn: Any, attributes: Mapping[str, LayerAttributes]
    ) -> None:
        check_losses(loss_fn)
        check_attributes(attributes)
        network = read_in_place(model)
        if getattr(model, "optimizer", None) is None:
            raise InvalidInputError(
                f"model {model.name!r} has no optimizer. Compile it, for example with "
                "model.compile('adam', loss), before it is trained."
            )
        self.model = model
        self.loss_fn = loss_fn
        self.attributes = attributes
        self._engine = make_engine(network, loss_fn, model.optimizer, attributes)

    def update_masks(
        self, masks: Mapping[str, Any], offsets: Mapping[str, Any] | None = None
    ) -> None:
        """Take new masks for the steps that follow.

        Parameters
        ----------
        masks
            Layer -> array in the kernel's shape: 1 trains a weight, 0 freezes it at zero.
        offsets
            Layer -> array in the kernel's shape: where it is not 0 in a frozen place, the group is
            shared and trains on as one value.
        """
        self._engine.projection.update(masks, offsets)
        self._engine.project_weights()
        self._engine.reset_optimizer()

    def __call__(
        self, X: Any, y: Any, s: float | None = None, *, sample_weight: Any = None
    ) -> float:
        """Train on one batch.

        Parameters
        ----------
        X, y
            Inputs and targets of one batch, in any structure that Keras accepts.
        s
            The sparsity, which older code passes; it has no effect.
        sample_weight
            Weights of the samples, if any.

        Returns
        -------
        float
            The loss of the batch before the step, regularization included.
        """
        return self._engine.step(X, y, sample_weight)
