"""Scaling of the loss, so that gradients in half precision do not vanish.

Keras multiplies the loss by a factor and divides the gradients by it. Masks and means of gradients are
linear, so that they act on scaled gradients as on others.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["LossScaling", "inner_optimizer", "with_loss_scaling"]

Moments = list[Any]
"""Values of an optimizer's variables."""


def inner_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer that changes the weights: the one inside, where the loss is scaled."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if scales else optimizer


def with_loss_scaling(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """Return the optimizer that Keras' ``compile`` would train a model with: one that scales, or as it is."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scales or model.dtype_policy.name != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


class LossScaling:
    """Steps of an optimizer that may scale the loss, as pure functions.

    A step whose gradients are not finite changes nothing but the factor, as in Keras.

    Parameters
    ----------
    optimizer
        A built optimizer.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer = optimizer
        self._inner = inner_optimizer(optimizer)
        self._is_dynamic = self._inner is not optimizer
        if self._is_dynamic:
            places = {id(variable): i for i, variable in enumerate(optimizer.variables)}
            self._scale = places[id(optimizer.dynamic_scale)]
            self._counter = places[id(optimizer.step_counter)]
            self._first = len(places) - len(self._inner.variables)

    def factor(self, moments: Moments) -> Any:
        """Return what the loss is multiplied by; None where it is not scaled."""
        return moments[self._scale] if self._is_dynamic else self._optimizer.loss_scale_factor

    def scale(self, loss: Any, moments: Moments) -> Any:
        """Return the loss as it is differentiated."""
        factor = self.factor(moments)
        return loss if factor is None else loss * ops.cast(factor, loss.dtype)

    def apply(
        self, moments: Moments, gradients: list[Any], weights: list[Any]
    ) -> tuple[list[Any], Moments]:
        """Return weights and moments after a step, for gradients of the scaled loss."""
        if not self._is_dynamic:
            return self._optimizer.stateless_apply(moments, gradients, weights)
        factor, counter = moments[self._scale], moments[self._counter]
        there = [gradient for gradient in gradients if gradient is not None]
        finite = ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in there]))
        unscaled = [None if g is None else g / ops.cast(factor, g.dtype) for g in gradients]
        # Copies, since some backends work in place.
        before = [ops.copy(each) for each in moments[self._first :]], [ops.copy(w) for w in weights]
        moved, inner = self._inner.stateless_apply(before[0], unscaled, before[1])

        def choose(new: Any, old: Any) -> Any:
            return ops.cast(ops.where(finite, new, old), old.dtype)

        grows = ops.equal(counter, self._optimizer.dynamic_growth_steps - 1)
        result = [*moments[: self._first], *map(choose, inner, moments[self._first :])]
        result[self._counter] = choose(ops.where(grows, 0, counter + 1), ops.zeros_like(counter))
        result[self._scale] = choose(ops.where(grows, 2.0 * factor, factor), 0.5 * factor)
        return list(map(choose, moved, weights)), result
