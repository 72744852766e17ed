"""What the optimizer must know of a layer type, and the registry of all that it knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from fabricfit.description.layout import Layout, standard_layout
from fabricfit.description.precision import FixedPrecision
from fabricfit.layers.regularizers import GroupRegularizer

__all__ = [
    "BitOperations",
    "Kernel",
    "LayerHandler",
    "find_handler",
    "handlers",
    "reason_to_skip",
    "register_layer",
    "shape_at",
]


CONSTANTS_ONLY = ("latency", "distributed_arithmetic")
"""Strategies that make every weight a constant in the logic."""


class BitOperations(NamedTuple):
    """Effective bit operations of a layer: those of each weight, in the kernel's shape, and the rest."""

    of_weights: np.ndarray
    others: float


@dataclass(frozen=True, eq=False)
class Kernel:
    """One tensor of weights of a layer that is cut into groups, and what belongs to it.

    Parameters
    ----------
    variable
        The weights.
    owner
        The layer, or the cell or layer inside it, that holds them.
    part
        What to call them beside the layer's name where the layer has several: ``'recurrent_kernel'``.
    bias
        The bias of their results, if there is one.
    layout
        Which axes are rows, columns and units; None where the last one makes the results, one for each
        unit.
    bias_layout
        Which axes of the bias are units, if it is not one number for each.
    regularizer
        The owner's attribute that holds their regularizer.
    weight_name
        What hls4ml calls them in a configuration's precisions.
    quantizer
        What the layer makes of them before it multiplies, if it quantizes them itself.
    bias_quantizer
        The same for the bias.
    precision
        The number format that the quantizer gives them, where that is known.
    bits
        Bit-widths of single weights that are trained with them: zero where a weight is pruned.
    bias_bits
        The same of the bias: zero where a unit is.
    bit_operations
        Returns the effective bit operations at the bit-widths of the moment, if the layer counts them.
    multiplies
        Whether inputs are multiplied by them; a table is looked up.
    dense
        Whether hls4ml multiplies by them as a dense layer does, whatever the axes: step by step, or sum by
        sum.
    strategies
        The only strategies with which hls4ml builds them so that pruned weights save something; all that
        it knows without.
    positions
        How often they are applied to one sample; None where the layer's results tell.
    inner
        Whether their results stay inside the layer.
    """

    variable: keras.Variable
    owner: Any
    part: str = ""
    bias: keras.Variable | None = None
    layout: Layout | None = None
    bias_layout: Layout | None = None
    regularizer: str = "kernel_regularizer"
    weight_name: str = "weight"
    quantizer: Callable[[Any], Any] | None = None
    bias_quantizer: Callable[[Any], Any] | None = None
    precision: FixedPrecision | None = None
    bits: tuple[keras.Variable, ...] = ()
    bias_bits: tuple[keras.Variable, ...] = ()
    bit_operations: Callable[[], BitOperations] | None = None
    multiplies: bool = True
    dense: bool = False
    strategies: tuple[str, ...] = ()
    positions: int | None = None
    inner: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return tuple(self.variable.shape)

    def used(self) -> np.ndarray:
        """Return the weights as the layer multiplies by them: quantized, if it quantizes them."""
        return _seen(self.variable, self.quantizer)

    def used_bias(self) -> np.ndarray | None:
        """Return the bias as the layer adds it, if there is one."""
        return None if self.bias is None else _seen(self.bias, self.bias_quantizer)

    def idle_units(self) -> np.ndarray:
        """Return which units have no weight other than zero, shape (n_units,)."""
        axes, used = self.layout or standard_layout(self.shape), self.used()
        idle: np.ndarray = (axes.ordered(used, axes.by_unit, (axes.n_units, -1), np) == 0).all(1)
        return idle


def _seen(variable: keras.Variable, quantizer: Callable[[Any], Any] | None) -> np.ndarray:
    value = variable.value if quantizer is None else quantizer(variable.value)
    array: np.ndarray = np.asarray(keras.ops.convert_to_numpy(value))
    return array


class LayerHandler(ABC):
    """One family of layers whose weights can be pruned and shared.

    Subclass it for a layer type of your own and hand an instance to :func:`register_layer`.
    """

    regularizer: type[GroupRegularizer] = GroupRegularizer
    """The regularizer class for the kernels."""

    @abstractmethod
    def handles(self, layer_type: type) -> bool:
        """Tell whether this handler is for layers of exactly this type.

        A subclass is another type: what it adds (a quantizer, another order of axes) may change what
        a pruned weight means.
        """

    @abstractmethod
    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the weights that are cut into groups: one kernel for most layers."""

    def refusal(self, layer: Any) -> str:
        """Return why this very layer cannot be optimized, or ``''``."""
        return ""


_HANDLERS: list[LayerHandler] = []


def register_layer(handler: LayerHandler) -> LayerHandler:
    """Make a layer type known; a later handler is asked before the earlier ones."""
    _HANDLERS.insert(0, handler)
    return handler


def handlers() -> tuple[LayerHandler, ...]:
    """Return all registered handlers, the first one asked first."""
    return tuple(_HANDLERS)


def find_handler(layer: Any) -> LayerHandler | None:
    """Return the handler of a layer's type, if there is one."""
    return next((found for found in _HANDLERS if found.handles(type(layer))), None)


def shape_at(layer: Any, side: str) -> tuple[int | None, ...]:
    """Return the shape of a layer's first ``'input'`` or ``'output'``, without the batch axis."""
    nodes = layer._inbound_nodes
    received = [t for node in nodes for t in node.input_tensors] if side == "input" else []
    tensors = received or [t for node in nodes for t in node.outputs]  # an Input receives nothing
    return tuple(tensors[0].shape[1:]) if tensors else ()


def reason_to_skip(layer: Any) -> str:
    """Return why a layer with weights cannot be optimized, or ``''`` if it can.

    Every reason names what stands in the way, for the report that the user reads.
    """
    if not layer.weights:
        return "it has no weights"
    if not layer.trainable:
        return "it is frozen (trainable=False)"
    handler = find_handler(layer)
    if handler is None:
        origin = type(layer).__module__.split(".")[0]
        where = "" if origin == "keras" else f" of {origin!r}"
        return (
            f"{type(layer).__name__}{where} is not a supported layer type; "
            "register_layer() can add it"
        )
    reason = handler.refusal(layer)
    if reason:
        return reason
    for kernel in handler.kernels(layer):
        if not kernel.variable.trainable:
            return "its kernel is frozen (trainable=False)"
        if not np.isfinite(keras.ops.convert_to_numpy(kernel.variable)).all():
            return "its kernel holds NaN or infinite weights"
    return ""
