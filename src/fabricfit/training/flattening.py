"""Weights as one vector, for optimizers that treat every number alike.

A model of this field has a dozen small variables. An optimizer that updates each by itself runs a dozen times
as many operations as needed, and each of them costs more to begin than to do.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from fabricfit.losses import is_builtin
from fabricfit.training.loss_scaling import inner_optimizer

__all__ = ["Parameters"]

# By name: on PyTorch, instances are of classes of the backend's own.
_ELEMENTWISE = (
    "SGD",
    "Adam",
    "AdamW",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Adamax",
    "Nadam",
    "Lion",
)


class Parameters:
    """Trainable variables, and what an optimizer is built on in their place.

    Parameters
    ----------
    variables
        The model's trainable variables.
    optimizer
        The optimizer, before it is built.
    flatten
        Whether to put them together where that changes nothing: for an optimizer that treats all
        numbers alike, variables of one type and no constraints.
    """

    def __init__(
        self, variables: list[keras.Variable], optimizer: keras.optimizers.Optimizer, flatten: bool
    ) -> None:
        self.shapes = [tuple(variable.shape) for variable in variables]
        self._ends = _sum_sizes([math.prod(shape) for shape in self.shapes])
        self.flat = flatten and _are_alike(variables) and _is_elementwise(optimizer)
        self.built_on = variables
        if self.flat:
            dtype = variables[0].dtype
            self.built_on = [keras.Variable(ops.zeros(self._ends[-1:], dtype), dtype=dtype)]

    def pack(self, tensors: list[Any]) -> list[Any]:
        """Put tensors in the variables' shapes together as the optimizer uses them."""
        if not self.flat:
            return tensors
        return [ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])]

    def unpack(self, tensors: list[Any]) -> list[Any]:
        """Undo :meth:`pack`."""
        if not self.flat:
            return tensors
        starts = [0, *self._ends[:-1]]
        return [
            ops.reshape(tensors[0][start:end], shape)
            for start, end, shape in zip(starts, self._ends, self.shapes, strict=True)
        ]


def _is_elementwise(optimizer: keras.optimizers.Optimizer) -> bool:
    optimizer = inner_optimizer(optimizer)
    excluded = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    kind = type(optimizer)
    ours_to_know = is_builtin(optimizer) and kind.__name__ in _ELEMENTWISE
    return ours_to_know and not (
        optimizer.clipnorm or optimizer.use_ema or optimizer.gradient_accumulation_steps or excluded
    )


def _are_alike(variables: list[keras.Variable]) -> bool:
    return len({variable.dtype for variable in variables}) == 1 and not any(
        variable.constraint is not None or variable.overwrite_with_gradient
        for variable in variables
    )


def _sum_sizes(sizes: list[int]) -> list[int]:
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    return ends[1:]
