"""What is known of a layer: its kernel, shapes, number formats and groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from fabricfit.checks import check_types, flag, instance, text, whole_number, whole_numbers
from fabricfit.description.built_layer import hls4mlAttributes
from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.description.grouping import Grouping, as_structure
from fabricfit.description.layout import Layout, standard_layout
from fabricfit.description.precision import Precision, parse_precision
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError

__all__ = ["LayerAttributes", "OptimizationAttributes", "hls4mlAttributes"]

_HLS4ML = "hls4ml_attributes"
"""The historical key of :attr:`LayerAttributes.args`."""


@dataclass
class OptimizationAttributes:
    """Which groups of a layer's weights may be pruned or shared.

    Parameters
    ----------
    structure_type
        How the kernel is cut into groups.
    pruning
        Whether groups may be set to zero.
    weight_sharing
        Whether groups may be set to one value, their mean.
    block_shape
        Rows and columns of a block, for ``BLOCK``.
    pattern_offset
        Number of patterns (multipliers) in the kernel, ``size / RF``, for ``PATTERN``.
    consecutive_patterns
        Neighbouring patterns that form one group, for ``PATTERN``.
    constants
        Whether weights may be frozen at constants, or share a value with others on the same input,
        where the objective says what such weights cost.
    """

    structure_type: SUPPORTED_STRUCTURES = SUPPORTED_STRUCTURES.UNSTRUCTURED
    pruning: bool = False
    weight_sharing: bool = False
    block_shape: tuple[int, int] = (1, 1)
    pattern_offset: int = 1
    consecutive_patterns: int = 1
    constants: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.structure_type = as_structure(self.structure_type)
        for name in ("pruning", "weight_sharing", "constants"):
            setattr(self, name, flag(name, getattr(self, name)))
        for name in ("pattern_offset", "consecutive_patterns"):
            setattr(self, name, whole_number(name, getattr(self, name)))
        shape = whole_numbers("block_shape", self.block_shape)
        if len(shape) != 2:
            raise InvalidInputError(
                f"block_shape must be two numbers (rows, columns). Received: block_shape={shape}"
            )
        self.block_shape = (shape[0], shape[1])


@dataclass
class LayerAttributes:
    """One layer, as objectives and the optimizer see it.

    Parameters
    ----------
    name
        The layer's name: its key in every dictionary of masks, offsets and attributes. A kernel of a layer
        with several is named by the layer and itself, ``'lstm/recurrent_kernel'``.
    layer_type
        The layer's class.
    inbound_layers
        Names of the layers whose output this one receives, without the model's inputs.
    weight_shape
        Shape of the kernel; ``()`` where there is none, or several, each with attributes of its own.
    input_shape, output_shape
        Shapes without the batch axis.
    optimizable
        Whether this layer is optimized.
    optimization_attributes
        Which groups, if it does.
    args
        Anything that an objective of one's own wants to know, by name. ``'hls4ml_attributes'`` is the
        historical way to :attr:`hls4ml`.
    consumers
        Names of the layers with kernels that receive this layer's units, each with the number of
        kernel rows that one unit feeds (more than 1 behind a Flatten).
    layout
        Which axes of the kernel are rows, columns and units; None where the last one makes the results,
        one for each unit.
    unit_classes
        A number for each unit, the same for units (of other kernels, too) that can only be removed
        together; -1 for a unit that has to stay. Empty where that is not known.
    row_classes
        Such numbers of the channels that the kernel receives.
    scales
        Layer and variable, of a batch normalization behind the kernel -> the unit that each of its numbers
        is of, -1 for another kernel's. They are zero where the unit is pruned.
    elementwise
        The work on each result beside the matrix product: an activation, a comparison, a scale.
    further_calls
        The layer as it is built for each call of it after the first: with the same kernel, and a name, shapes
        and number formats of its own. hls4ml builds a layer, weights included, for each call.
    node_name
        What hls4ml calls the layer that it builds; empty where that is the layer's own name.
    received_precision, result_precision
        Number formats of what it receives and of its results, where a configuration states them.
    fifos
        With ``io_stream``: words and bits of each FIFO that its results go through.
    io_type
        How data pass from layer to layer, ``'io_parallel'`` or ``'io_stream'``; empty where it is not known.
    kernel_of
        Name of the layer, where these are the attributes of one of its kernels; else empty.
    kernels
        Names of the attributes of the layer's kernels, where it has several.
    input_layers
        Names of the model's inputs that feed it.
    consumer_attributes
        Name -> attributes, of the layers in ``consumers``.
    matrices
        What the layer multiplies by, where it is of no known family: pairs of the attributes of a dense
        layer and its weights, shape ``(n_in, n_out)``.
    looks_up
        Whether inputs pick rows of the kernel, a table of embeddings, instead of being multiplied by it.
    inner
        Whether the kernel's results stay inside the layer.
    known_positions
        How often the kernel is applied to one sample, where shapes do not tell; see :attr:`positions`.
    known_convolution
        Whether hls4ml builds it as a convolution, where shapes do not tell; see :attr:`is_convolution`.
    known_window
        Pixels of the padded input, and rows and pixels of the kernel, where shapes do not tell; see
        :attr:`window`.
    strategies
        The only strategies with which hls4ml builds it so that pruned weights save something, as
        :data:`~fabricfit.description.strategies.STRATEGIES` spells them; all where it is empty.
    multiplies_inner
        Whether the kernel multiplies a tensor that is made inside the layer.
    built_instead
        Strategy -> the one that hls4ml builds in its place for layers of this kind, as
        :data:`~fabricfit.description.strategies.STRATEGIES` spells them.
    reuse_shape
        Rows and columns from which hls4ml derives legal reuse factors, if they are not :attr:`matrix_shape`;
        empty where it keeps any factor.
    weight_name
        What hls4ml calls the kernel in a configuration's precisions.
    quantizer_precision
        Number format that the layer's own quantizer gives its weights; what ``'auto'`` stands for.
    trains_bits
        Whether weights train bit widths of their own.
    bit_operations, other_bit_operations
        Effective bit operations that the layer counts itself: of each weight, in the kernel's shape (None
        where it counts none), and of the rest.
    note
        Why what is estimated of the layer is uncertain; empty where it is not.
    """

    name: str
    layer_type: type
    inbound_layers: list[str]
    weight_shape: tuple[int, ...]
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    optimizable: bool = False
    optimization_attributes: OptimizationAttributes | None = field(
        default_factory=OptimizationAttributes
    )
    args: dict[str, Any] = field(default_factory=dict)
    consumers: dict[str, int] = field(default_factory=dict, kw_only=True)
    layout: Layout | None = field(default=None, kw_only=True)
    unit_classes: tuple[int, ...] = field(default=(), kw_only=True)
    row_classes: tuple[int, ...] = field(default=(), kw_only=True)
    scales: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    elementwise: ElementwiseWork = field(default=ElementwiseWork.FREE, kw_only=True)
    further_calls: tuple[LayerAttributes, ...] = field(default=(), kw_only=True, repr=False)
    node_name: str = field(default="", kw_only=True)
    received_precision: Precision | None = field(default=None, kw_only=True)
    result_precision: Precision | None = field(default=None, kw_only=True)
    fifos: tuple[tuple[int, int], ...] = field(default=(), kw_only=True)
    io_type: str = field(default="", kw_only=True)
    kernel_of: str = field(default="", kw_only=True)
    kernels: tuple[str, ...] = field(default=(), kw_only=True)
    input_layers: tuple[str, ...] = field(default=(), kw_only=True)
    consumer_attributes: Mapping[str, LayerAttributes] = field(
        default_factory=dict, kw_only=True, repr=False
    )
    matrices: tuple[tuple[LayerAttributes, np.ndarray], ...] = field(
        default=(), kw_only=True, repr=False, compare=False
    )
    looks_up: bool = field(default=False, kw_only=True)
    inner: bool = field(default=False, kw_only=True)
    known_positions: int | None = field(default=None, kw_only=True)
    known_convolution: bool | None = field(default=None, kw_only=True)
    known_window: tuple[int, int, int] | None = field(default=None, kw_only=True)
    strategies: tuple[str, ...] = field(default=(), kw_only=True)
    multiplies_inner: bool = field(default=False, kw_only=True)
    built_instead: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    reuse_shape: tuple[int, ...] | None = field(default=None, kw_only=True)
    weight_name: str = field(default="weight", kw_only=True)
    quantizer_precision: Precision | None = field(default=None, kw_only=True)
    trains_bits: bool = field(default=False, kw_only=True)
    bit_operations: np.ndarray | None = field(default=None, kw_only=True, repr=False, compare=False)
    other_bit_operations: float = field(default=0.0, kw_only=True)
    note: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        check_types(self)
        text("name", self.name)
        if self.weight_shape:
            self.weight_shape = whole_numbers("weight_shape", self.weight_shape)
        if self.optimization_attributes is not None:
            instance(
                "optimization_attributes", self.optimization_attributes, OptimizationAttributes
            )
        if self.layout is not None:
            instance("layout", self.layout, Layout)
        instance("elementwise", self.elementwise, ElementwiseWork)
        for name in ("received_precision", "result_precision", "quantizer_precision"):
            if getattr(self, name) is not None:
                setattr(self, name, parse_precision(getattr(self, name)))

    @property
    def hls4ml(self) -> hls4mlAttributes | None:
        """What an hls4ml configuration says of the layer; None where it was read without one."""
        return self.args.get(_HLS4ML)

    @hls4ml.setter
    def hls4ml(self, attributes: hls4mlAttributes | None) -> None:
        if attributes is None:
            self.args.pop(_HLS4ML, None)
        else:
            self.args[_HLS4ML] = attributes

    def with_hls4ml(self, attributes: hls4mlAttributes) -> LayerAttributes:
        """Return the same layer as another hls4ml configuration builds it."""
        return replace(self, args={**self.args, _HLS4ML: attributes})

    def without_hls4ml(self) -> LayerAttributes:
        """Return the same layer without what a configuration says of how it is built."""
        return replace(
            self, args={key: value for key, value in self.args.items() if key != _HLS4ML}
        )

    def update_args(self, updates: Mapping[str, Any]) -> None:
        """Add to what objectives may know of this layer."""
        self.args.update(updates)

    @property
    def grouping(self) -> Grouping:
        """How this layer's kernel is cut into groups.

        Raises
        ------
        InvalidInputError
            The layer has no kernel, or is not optimized.
        """
        if not self.weight_shape or self.optimization_attributes is None:
            raise InvalidInputError(f"layer {self.name!r} has no kernel that is cut into groups.")
        return grouping_of(self.weight_shape, self.optimization_attributes, self.layout)

    @property
    def axes(self) -> Layout:
        """Which axes of the kernel are rows, columns and units: :attr:`layout`, or the standard one."""
        return self.layout or standard_layout(self.weight_shape)

    @property
    def layer_name(self) -> str:
        """Name of the layer, also where these are the attributes of one of its kernels."""
        return self.kernel_of or self.name

    @property
    def reads_model_input(self) -> bool:
        """Whether an input of the model feeds it."""
        return bool(self.input_layers)

    @property
    def calls(self) -> tuple[LayerAttributes, ...]:
        """The layer as it is built for each call, these attributes for the first."""
        return (self, *self.further_calls)

    @property
    def hls4ml_name(self) -> str:
        """What hls4ml calls the layer that it builds: its name in a configuration."""
        return self.node_name or self.layer_name

    @property
    def multiplies(self) -> bool:
        """Whether there is a kernel that inputs are multiplied by: not a table of embeddings."""
        return bool(self.weight_shape) and not self.looks_up

    @property
    def is_convolution(self) -> bool:
        """Whether hls4ml builds it as a convolution, as it does a Dense layer on several axes.

        The products of a recurrent layer are dense ones, step by step.
        """
        if self.known_convolution is not None:
            return self.known_convolution
        return len(self.weight_shape) > 2 or len(self.input_shape) > 1

    @property
    def positions(self) -> int:
        """How often the kernel is applied to one sample: pixels, steps, or once.

        An axis of unknown length counts once, so that results are then for each of its entries.
        """
        if self.known_positions is not None:
            return self.known_positions
        known = [int(length) for length in self.output_shape if length]
        units = self.axes.n_columns
        if known and known[-1] == units:
            return math.prod(known[:-1])
        if known and known[0] == units:
            return math.prod(known[1:])
        return max(math.prod(known) // units, 1)

    @property
    def window(self) -> tuple[int, int, int]:
        """Pixels of a convolution's padded input, rows and pixels of its kernel; all 1 of other layers."""
        if self.known_window is not None:
            return self.known_window
        received, made = (
            [int(n or 1) for n in shape] for shape in (self.input_shape, self.output_shape)
        )
        if not self.is_convolution or len(received) < 2 or len(made) != len(received):
            return 1, 1, 1
        kernel = [1] * (len(received) - 1)
        if len(self.weight_shape) == len(received) + 1:  # else a dense layer on several axes
            kernel = [int(n) for n in self.weight_shape[: len(kernel)]]
        padded = 1
        for before, after, size in zip(received, made, kernel, strict=False):
            stride = max(round(before / after), 1)
            padded *= max(before, (after - 1) * stride + size)
        return padded, kernel[0] if len(kernel) > 1 else 1, math.prod(kernel)

    def resized(self, rows: int, units: int) -> LayerAttributes:
        """Return what a kernel of fewer rows and units would be described as."""
        columns = self.axes.n_columns // self.axes.n_units * units
        hls = self.hls4ml
        layer = self if hls is None else self.with_hls4ml(replace(hls, n_in=rows, n_out=columns))
        return replace(
            layer,
            weight_shape=(rows, columns),
            layout=None,
            known_positions=self.positions,
            known_convolution=self.is_convolution,
            known_window=self.window,
            fifos=tuple((depth, bits * units // self.axes.n_units) for depth, bits in self.fifos),
            consumers={},
            unit_classes=(),
            further_calls=tuple(call.resized(rows, units) for call in self.further_calls),
        )

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows (inputs) and columns (results) of the kernel seen as a matrix."""
        return self.axes.n_rows, self.axes.n_columns


def grouping_of(
    shape: Sequence[int], attributes: OptimizationAttributes, layout: Layout | None = None
) -> Grouping:
    """Return the grouping of a kernel of this shape and layout that the attributes describe."""
    return _cached_grouping(
        tuple(shape),
        attributes.structure_type,
        attributes.pattern_offset,
        attributes.consecutive_patterns,
        tuple(attributes.block_shape),
        layout,
    )


@lru_cache(maxsize=1024)
def _cached_grouping(*fields: Any) -> Grouping:
    """Return a grouping; those of a model's layers are asked for again and again."""
    return Grouping(*fields)
