"""Projection of gradients and weights that keeps frozen and shared weights as they are.

Masks live in variables that a compiled step reads each time it runs. Nothing is baked in when the step is
traced, so new masks need no new compilation and can never be stale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.choices import Treatment
from fabricfit.description.attributes import LayerAttributes
from fabricfit.description.grouping import Grouping
from fabricfit.description.layout import Layout
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.layers import Kernel
from fabricfit.network.reader import Network, as_network, model_of
from fabricfit.training.flattening import Parameters

__all__ = ["Projection", "project"]

# Of a mask, a constant, the numbers of clusters and shares; None for the weights' own.
_DTYPES = (None, None, "int32", None)


@dataclass(frozen=True)
class _Slot:
    """A trainable variable that is projected, and the variables that say how.

    ``constant`` is added to weights. ``cluster`` numbers the weights that train as one value, from 1;
    ``share`` is what each of those contributes to that value, one over their number.
    """

    position: int
    mask: keras.Variable
    constant: keras.Variable | None = None
    cluster: keras.Variable | None = None
    share: keras.Variable | None = None

    @property
    def state(self) -> tuple[Any, ...]:
        parts = (self.mask, self.constant, self.cluster, self.share)
        return tuple(None if part is None else part.value for part in parts)


class Projection:
    """Keep frozen weights at their values and shared weights equal, while the others train.

    The projection of a gradient keeps it where the mask is 1, replaces it by its mean over every set of
    shared weights (which is the gradient of their common value, up to a factor), and is zero elsewhere.
    That of the updated weights does the same and puts constants in their places; it removes what an
    optimizer's momentum or weight decay moved.

    Where whole units are pruned (STRUCTURED), their biases are frozen at zero with them; so are trained
    bit widths of pruned weights. Those of kept weights are held while masks act, so that what is used
    remains what was chosen.

    Parameters
    ----------
    model
        The model that is trained.
    attributes
        Layer -> attributes; those that are optimizable are projected.
    """

    def __init__(
        self, model: keras.Model | Network, attributes: Mapping[str, LayerAttributes]
    ) -> None:
        trained = model_of(model)
        positions = {id(v): i for i, v in enumerate(trained.trainable_variables)}
        places = {id(v): i for i, v in enumerate(trained.variables)}
        self._places = [places[id(v)] for v in trained.trainable_variables]
        self._slots: dict[str, _Slot] = {}
        self._followers: dict[str, list[tuple[_Slot, _Following]]] = {}
        self._follower_slots: dict[int, _Slot] = {}
        self._held: dict[int, keras.Variable] = {}
        self._groupings: dict[str, Grouping] = {}
        if not attributes:
            return
        network = as_network(model)
        for name, found, described, settings in network.iterate_optimizable(attributes):
            kernel = found.variable
            grouped = settings.weight_sharing and described.grouping.group_size > 1
            if grouped:
                self._groupings[name] = described.grouping
            sharing, zeros = grouped or settings.constants, np.zeros(kernel.shape)
            self._slots[name] = _Slot(
                positions[id(kernel)],
                _make_constant(np.ones(kernel.shape), kernel.dtype),
                _make_constant(zeros, kernel.dtype) if settings.constants else None,
                _make_constant(zeros, "int32") if sharing else None,
                _make_constant(zeros, kernel.dtype) if sharing else None,
            )
            by_unit = settings.structure_type is SUPPORTED_STRUCTURES.STRUCTURED
            scales: list[tuple[keras.Variable, _Following]] = [
                (
                    _find_variable(network.layers[layer], variable),
                    partial(_follow_indices, described.axes, units),
                )
                for (layer, variable), units in described.scales.items()
            ]
            self._held |= {positions[id(v)]: v for v in found.bits if id(v) in positions}
            self._followers[name] = [
                (self._get_follower_slot(v, positions), following)
                for v, following in (*_find_followers(found, described.axes, by_unit), *scales)
                if id(v) in positions
            ]

    @property
    def state(self) -> list[tuple[Any, ...]]:
        """The current masks, as tensors of the backend: an argument of a step."""
        return [slot.state for slot in self._all_slots]

    @property
    def positions(self) -> list[int]:
        """Which of the model's trainable variables are projected."""
        return [slot.position for slot in self._all_slots]

    def packed(self, state: list[tuple[Any, ...]], parameters: Parameters) -> list[tuple[Any, ...]]:
        """Return what :attr:`state` holds, for tensors that an optimizer uses packed."""
        slots = dict(zip(self.positions, state, strict=True))
        if not (parameters.flat and slots):
            return state
        whole, first = [], 1
        for position, shape in enumerate(parameters.shapes):
            mask, constant, cluster, share = slots.get(position, (None,) * 4)
            if cluster is not None:  # numbers of their own for each variable; 0 stays 0
                cluster = ops.where(cluster > 0, cluster + (first - 1), 0)
            first += math.prod(shape)
            whole.append((ops.ones(shape) if mask is None else mask, constant, cluster, share))
        packed = []
        for parts, dtype in zip(zip(*whole, strict=True), _DTYPES, strict=True):
            dtype = dtype or parameters.built_on[0].dtype
            there = any(part is not None for part in parts)
            filled = [
                ops.zeros(shape, dtype) if part is None else ops.cast(part, dtype)
                for part, shape in zip(parts, parameters.shapes, strict=True)
            ]
            packed.append(parameters.pack(filled)[0] if there else None)
        return [tuple(packed)]

    @property
    def _all_slots(self) -> list[_Slot]:
        return [*self._slots.values(), *self._follower_slots.values()]

    def _get_follower_slot(self, variable: keras.Variable, positions: Mapping[int, int]) -> _Slot:
        """Return the slot of a variable that follows kernels: several may have a say in it."""
        position = positions[id(variable)]
        if position not in self._follower_slots:
            ones, zeros = np.ones(variable.shape), np.zeros(variable.shape)
            self._follower_slots[position] = _Slot(
                position,
                _make_constant(ones, variable.dtype),
                _make_constant(zeros, variable.dtype) if position in self._held else None,
            )
        return self._follower_slots[position]

    def gradients(self, tensors: list[Any]) -> list[Any]:
        """Project gradients of the model's trainable variables, in their order; ``None`` is kept."""
        return project(tensors, self.positions, self.state, constants=False)

    def weights(self, tensors: list[Any]) -> list[Any]:
        """Project values of the model's trainable variables, in their order, as :meth:`gradients` does.

        Weights that are frozen at a constant get it.
        """
        return project(tensors, self.positions, self.state, constants=True)

    def update(
        self,
        masks: Mapping[str, Any],
        offsets: Mapping[str, Any] | None = None,
        clusters: Mapping[str, Any] | None = None,
    ) -> None:
        """Set masks and offsets, as :func:`~fabricfit.keras.masking.get_model_masks` gives them.

        Layers that are not named are trained in full.

        Parameters
        ----------
        masks
            Layer -> array: 1 where a weight trains by itself.
        offsets
            Layer -> array: the value of each other weight. Where groups may be shared, a group with a
            value other than zero is shared and trains on as one value.
        clusters
            Layer -> array of int: numbers from 1 for weights that share a value, 0 for all others,
            where sharing does not follow the groups.

        Raises
        ------
        InvalidInputError
            An array is not in its kernel's shape, names a layer that is not projected, or asks for what
            the layer's attributes do not allow.
        """
        unknown = set(masks) - set(self._slots)
        if unknown:
            raise InvalidInputError(
                f"masks name layers that are not optimizable: {sorted(unknown)}. "
                f"Expected: {sorted(self._slots)}"
            )
        followed: dict[int, Any] = {}
        held: set[int] = set()
        for name, slot in self._slots.items():
            shape = tuple(slot.mask.shape)
            mask = np.asarray(masks.get(name, np.ones(shape)))
            offset = np.asarray((offsets or {}).get(name, np.zeros(shape)))
            if mask.shape != shape or offset.shape != shape:
                raise InvalidInputError(
                    f"mask and offset of layer {name!r} must have its kernel's shape {shape}. "
                    f"Received: {mask.shape} and {offset.shape}"
                )
            cluster = np.asarray(
                (clusters or {}).get(name, self._number_groups(name, mask, offset))
            )
            constant = np.where((mask == 0) & (cluster == 0), offset, 0)
            slot.mask.assign(mask)
            if slot.cluster is not None and slot.share is not None:
                slot.cluster.assign(cluster)
                counts = np.bincount(cluster.reshape(-1), minlength=1)[cluster]
                slot.share.assign(np.where(cluster > 0, 1 / counts, 0))
            if slot.constant is not None:
                slot.constant.assign(constant)
            elif constant.any():
                raise InvalidInputError(
                    f"offsets give weights of layer {name!r} values of their own; its attributes "
                    "do not allow it."
                )
            for follower, following in self._followers[name]:
                trains = following((mask != 0) | (cluster != 0))
                followed[follower.position] = followed.get(follower.position, True) & trains
                if follower.position in self._held and name in masks:
                    held.add(follower.position)
        for position, slot in self._follower_slots.items():
            self._set_follower(slot, np.asarray(followed[position]), position in held)

    def _set_follower(self, slot: _Slot, trains: np.ndarray, is_held: bool) -> None:
        """Let the numbers of a variable train, or hold their present values; freeze the others at zero."""
        slot.mask.assign(np.zeros_like(trains) if is_held else trains)
        if slot.constant is not None:
            variable = self._held[slot.position]
            present = np.asarray(keras.ops.convert_to_numpy(variable))
            slot.constant.assign(present * trains if is_held else np.zeros_like(present))

    def treated(
        self, weights: Sequence[np.ndarray], treatments: Mapping[str, Treatment]
    ) -> list[np.ndarray]:
        """Return weights with treatments applied, without freezing anything.

        Parameters
        ----------
        weights
            In the order of the model's variables.
        treatments
            Layer -> treatment of its kernel.
        """
        found = list(weights)
        for name, treatment in treatments.items():
            place = self._places[self._slots[name].position]
            found[place] = treatment.apply(found[place])
            trains = (treatment.mask != 0) | (treatment.cluster != 0)
            for follower, following in self._followers[name]:
                place = self._places[follower.position]
                found[place] = found[place] * following(trains)
        return found

    def _number_groups(self, name: str, mask: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Give the weights of shared groups their group's number, and all others 0."""
        if name not in self._groupings:
            return np.zeros(mask.shape, np.int32)
        grouping = self._groupings[name]
        numbers = grouping.spread(np.arange(1, grouping.n_groups + 1, dtype=np.int32))
        return np.where((mask == 0) & (offset != 0), numbers, 0)

    def release(self) -> None:
        """Let all weights train."""
        self.update({})


def project(
    tensors: list[Any], positions: list[int], state: list[tuple[Any, ...]], *, constants: bool
) -> list[Any]:
    """Project tensors: see :class:`Projection`, of which this is the part that a step compiles.

    Parameters
    ----------
    tensors
        Gradients or values.
    positions, state
        Which of them are projected, and by which masks.
    constants
        Whether frozen weights get their constants, as values do.
    """
    projected = list(tensors)
    for position, (mask, constant, cluster, share) in zip(positions, state, strict=True):
        tensor = projected[position]
        if tensor is None:
            continue
        result = tensor * mask
        if cluster is not None:
            result = result + _share_values(tensor, cluster, share)
        if constants and constant is not None:
            result = result + constant
        projected[position] = result
    return projected


_Following = Callable[[np.ndarray], np.ndarray]
"""From which weights of a kernel train to which numbers of another variable do."""


def _find_followers(
    kernel: Kernel, axes: Layout, by_unit: bool
) -> Iterator[tuple[keras.Variable, _Following]]:
    """Yield the variables that are frozen at zero with a kernel's weights."""
    for bits in kernel.bits:
        yield bits, partial(_follow_weights, tuple(bits.shape))
    if by_unit and kernel.bias is not None:
        shape = tuple(kernel.bias.shape)
        own = kernel.bias_layout or Layout(
            shape, (), tuple(range(len(shape))), tuple(range(len(shape)))
        )
        for variable in (kernel.bias, *_select_shape(kernel.bias_bits, shape)):
            yield variable, partial(_follow_units, axes, own, shape)


def _select_shape(
    variables: Sequence[keras.Variable], shape: tuple[int, ...]
) -> list[keras.Variable]:
    return [variable for variable in variables if tuple(variable.shape) == shape]


def _follow_weights(shape: tuple[int, ...], trains: np.ndarray) -> np.ndarray:
    """Follow weight by weight, where one number serves several weights as long as one of them trains."""
    axes = tuple(i for i, length in enumerate(shape) if length != trains.shape[i])
    return np.asarray(trains.any(axis=axes, keepdims=True)) if axes else trains


def _follow_units(
    axes: Layout, own: Layout, shape: tuple[int, ...], trains: np.ndarray
) -> np.ndarray:
    """Follow unit by unit: a bias trains while any weight of its unit does."""
    alive = _find_trained_units(axes, trains)
    each = np.broadcast_to(alive[:, None], (own.n_units, math.prod(shape) // own.n_units))
    spread: np.ndarray = own.restored(each, own.by_unit, shape, np)
    return spread


def _find_trained_units(axes: Layout, trains: np.ndarray) -> np.ndarray:
    """Return which units of a kernel have weights that train."""
    alive: np.ndarray = axes.ordered(trains, axes.by_unit, (axes.n_units, -1), np).any(axis=1)
    return alive


def _find_variable(layer: Any, name: str) -> keras.Variable:
    return next(variable for variable in layer.weights if variable.name == name)


def _follow_indices(axes: Layout, units: tuple[int, ...], trains: np.ndarray) -> np.ndarray:
    """Follow the units of given numbers; -1 trains."""
    alive = _find_trained_units(axes, trains)
    index = np.array(units)
    return np.where(index < 0, True, alive[index])


def _share_values(tensor: Any, cluster: Any, share: Any) -> Any:
    """Give every shared weight the mean of those that it shares a value with; 0 elsewhere."""
    size = math.prod(tensor.shape)
    numbers = ops.reshape(cluster, (size,))
    parts = ops.reshape(tensor * share, (size,))
    sums = ops.segment_sum(parts, numbers, num_segments=size + 1)
    return ops.reshape(ops.take(sums, numbers), tuple(tensor.shape))


def _make_constant(values: np.ndarray, dtype: Any) -> keras.Variable:
    return keras.Variable(values.astype(dtype), trainable=False, dtype=dtype)
