"""Kernels: the tensors of weights of a layer that are cut into groups, and what belongs to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

from fabricfit.description.layout import Layout, standard_layout
from fabricfit.description.precision import FixedPrecision

__all__ = ["INSIDE", "BitOperations", "Kernel"]

INSIDE = -1
"""Stands for a tensor that a layer makes inside itself, in the place of one of its inputs."""


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
        Their name beside the layer's where the layer has several: ``'recurrent_kernel'``.
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
        Quantizes them before the layer multiplies by them, if the layer quantizes its own weights.
    bias_quantizer
        The same for the bias.
    precision
        The number format that the quantizer gives them, where that is known.
    bits
        Bit widths of single weights that are trained with them: zero where a weight is pruned.
    bias_bits
        The same of the bias: zero where a unit is.
    bit_operations
        Returns the effective bit operations at the present bit widths, if the layer counts them.
    multiplies
        Whether inputs are multiplied by them; a table is looked up.
    dense
        Whether hls4ml multiplies by them as a dense layer does, whatever the axes: step by step, or sum by
        sum.
    strategies
        The only strategies with which hls4ml builds them so that pruned weights save something; all that
        it knows without.
    positions
        How often they are applied to one sample; None where it follows from the shape of the results.
    one_by_one
        Whether positions are computed one after the other by the same products, as steps in time are.
    inner
        Whether their results stay inside the layer.
    receives
        Which of the layer's inputs they multiply, counted from 0, or :data:`INSIDE` for a tensor that is made
        inside the layer, such as a state; None where it is not known, or the layer has one kernel and one
        input.
    bias_names
        What hls4ml calls the bias in a configuration's precisions; several names for a bias of several rows,
        the second of which belongs to the sums of the next kernel.
    built_instead
        Strategy -> the one that hls4ml builds in its place for such layers, whatever the reuse factor.
    reuse_shape
        Rows and columns from which hls4ml derives legal reuse factors, if they are not those of the matrix;
        empty where it keeps any factor.
    wants_inner_format
        Whether hls4ml builds them only where the layer's input has the number format of its inner tensors.
    input_axis
        The axis of the layout along which the last axis of the input goes; None where it is the last of
        the rows.
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
    one_by_one: bool = False
    inner: bool = False
    receives: int | None = None
    bias_names: tuple[str, ...] = ("bias",)
    built_instead: Mapping[str, str] = field(default_factory=dict)
    reuse_shape: tuple[int, ...] | None = None
    wants_inner_format: bool = False
    input_axis: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return tuple(self.variable.shape)

    def used(self) -> np.ndarray:
        """Return the weights as the layer multiplies by them: quantized, if it quantizes them."""
        return _quantize(self.variable, self.quantizer)

    def used_bias(self) -> np.ndarray | None:
        """Return the bias as the layer adds it, if there is one."""
        return None if self.bias is None else _quantize(self.bias, self.bias_quantizer)

    @property
    def multiplies_inner(self) -> bool:
        """Whether they multiply a tensor that the layer makes inside itself."""
        return self.receives == INSIDE

    @property
    def axes(self) -> Layout:
        """Which axes are rows, columns and units: :attr:`layout`, or the standard one."""
        return self.layout or standard_layout(self.shape)

    @property
    def channel_axis(self) -> int:
        """The axis of :attr:`axes` along which the last axis of the input goes."""
        return self.axes.rows[-1] if self.input_axis is None else self.input_axis

    def zero_units(self) -> np.ndarray:
        """Return which units have no weight other than zero, shape (n_units,)."""
        axes, used = self.axes, self.used()
        zero: np.ndarray = (axes.ordered(used, axes.by_unit, (axes.n_units, -1), np) == 0).all(1)
        return zero


def _quantize(variable: keras.Variable, quantizer: Callable[[Any], Any] | None) -> np.ndarray:
    value = variable.value if quantizer is None else quantizer(variable.value)
    array: np.ndarray = np.asarray(keras.ops.convert_to_numpy(value))
    return array
