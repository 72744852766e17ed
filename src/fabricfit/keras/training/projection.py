"""Frozen and shared weights, as something a training step applies to gradients and weights.

Masks live in variables that a compiled step reads each time it runs. Nothing is baked in when the step is
traced, so new masks need no new compilation and can never be stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.attributes import LayerAttributes
from fabricfit.config import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.grouping import Grouping
from fabricfit.keras.layers import find_handler
from fabricfit.keras.reading import named_layers

__all__ = ["Projection"]


@dataclass(frozen=True)
class _Slot:
    """A trainable variable that is projected, and the variables that say how."""

    position: int
    mask: keras.Variable
    shared: keras.Variable | None = None
    grouping: Grouping | None = None


class Projection:
    """Keep frozen weights at zero and shared weights equal, while the others train.

    The projection of a tensor keeps it where the mask is 1, replaces every shared group by its mean,
    and is zero elsewhere. Applied to a gradient it gives the gradient of the shared value; applied to the
    updated weights it removes what an optimizer's momentum or weight decay moved.

    Where whole units are pruned (STRUCTURED), their biases are frozen at zero with them.

    Parameters
    ----------
    model
        The model that is trained.
    attributes
        Layer -> attributes; those that are optimizable are projected.
    """

    def __init__(self, model: keras.Model, attributes: Mapping[str, LayerAttributes]) -> None:
        positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
        self._slots: dict[str, _Slot] = {}
        self._bias_slots: dict[str, _Slot] = {}
        for name, layer in named_layers(model).items():
            described = attributes.get(name)
            handler = find_handler(layer)
            if described is None or not described.optimizable or handler is None:
                continue
            kernel, settings = handler.kernel(layer), described.optimization_attributes
            assert settings is not None
            sharing = settings.weight_sharing and described.grouping.group_size > 1
            self._slots[name] = _Slot(
                positions[id(kernel)],
                _constant(np.ones(kernel.shape), kernel.dtype),
                _constant(np.zeros(kernel.shape), kernel.dtype) if sharing else None,
                described.grouping,
            )
            bias = handler.bias(layer)
            if bias is not None and settings.structure_type is SUPPORTED_STRUCTURES.STRUCTURED:
                ones = _constant(np.ones(bias.shape), bias.dtype)
                self._bias_slots[name] = _Slot(positions[id(bias)], ones)

    @property
    def state(self) -> list[tuple[Any, Any]]:
        """The current masks, as tensors of the backend: what a step takes as an argument."""
        return [
            (slot.mask.value, None if slot.shared is None else slot.shared.value)
            for slot in self._all_slots
        ]

    @property
    def positions(self) -> list[int]:
        """Which of the model's trainable variables are projected."""
        return [slot.position for slot in self._all_slots]

    @property
    def _all_slots(self) -> list[_Slot]:
        return [*self._slots.values(), *self._bias_slots.values()]

    def apply(self, tensors: list[Any], state: list[tuple[Any, Any]] | None = None) -> list[Any]:
        """Project tensors that belong to the model's trainable variables, in their order.

        Parameters
        ----------
        tensors
            Gradients or weights; a ``None`` gradient stays.
        state
            :attr:`state`, where a step is a pure function of its arguments.
        """
        projected = list(tensors)
        for slot, (mask, shared) in zip(self._all_slots, state or self.state, strict=True):
            tensor = projected[slot.position]
            if tensor is None:
                continue
            result = tensor * mask
            if shared is not None and slot.grouping is not None:
                means = slot.grouping.spread(slot.grouping.means(tensor, ops), ops)
                result = result + shared * means
            projected[slot.position] = result
        return projected

    def update(self, masks: Mapping[str, Any], offsets: Mapping[str, Any] | None = None) -> None:
        """Take new masks and offsets, as :func:`~fabricfit.keras.masking.get_model_masks` gives them.

        Layers that are not named are trained in full.

        Raises
        ------
        InvalidInputError
            A mask is not in its kernel's shape, or names a layer that is not projected.
        """
        unknown = set(masks) - set(self._slots)
        if unknown:
            raise InvalidInputError(
                f"masks name layers that are not optimizable: {sorted(unknown)}. "
                f"Expected: {sorted(self._slots)}"
            )
        for name, slot in self._slots.items():
            shape = tuple(slot.mask.shape)
            mask = np.asarray(masks.get(name, np.ones(shape)))
            offset = np.asarray((offsets or {}).get(name, np.zeros(shape)))
            if mask.shape != shape or offset.shape != shape:
                raise InvalidInputError(
                    f"mask and offset of layer {name!r} must have its kernel's shape {shape}. "
                    f"Received: {mask.shape} and {offset.shape}"
                )
            shared = (mask == 0) & (offset != 0)
            slot.mask.assign(mask)
            if slot.shared is not None:
                slot.shared.assign(shared)
            elif shared.any():
                raise InvalidInputError(
                    f"offsets share weights of layer {name!r}, whose attributes do not allow it."
                )
            if name in self._bias_slots:
                alive = (mask != 0) | shared
                units = alive.reshape(-1, shape[-1]).any(axis=0)
                self._bias_slots[name].mask.assign(units)

    def release(self) -> None:
        """Let all weights train."""
        self.update({})


def _constant(values: np.ndarray, dtype: Any) -> keras.Variable:
    return keras.Variable(values.astype(dtype), trainable=False, dtype=dtype)
