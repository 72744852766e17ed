"""What is known of a layer: its kernel, shapes, number formats and groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fabricfit.description.grouping import Grouping, as_structure
from fabricfit.description.layout import Layout, standard_layout
from fabricfit.description.precision import Precision, parse_precision
from fabricfit.description.strategies import IO_TYPES, canonical_strategy
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError

if TYPE_CHECKING:
    pass

__all__ = ["LayerAttributes", "OptimizationAttributes", "hls4mlAttributes"]


@dataclass(frozen=True)
class hls4mlAttributes:  # noqa: N801 - the historical public name
    """What an hls4ml configuration says of one layer.

    Parameters
    ----------
    n_in, n_out
        Rows and columns of the layer's matrix product; for a convolution kernel height × width ×
        channels, and filters.
    io_type
        ``'io_parallel'`` or ``'io_stream'``.
    strategy
        ``'Latency'``, ``'Resource'``, ``'ResourceUnrolled'`` or ``'distributed_arithmetic'``, in
        any case. hls4ml silently takes Latency for a name it does not know; here that is an error.
    weight_precision, output_precision
        Number formats: a text (``'fixed<16,6>'``) or any object with a ``width`` in bits.
    reuse_factor
        Times that one multiplier is used, RF.
    parallelization_factor
        Output pixels computed at once, for ``io_parallel`` convolutions.
    input_precision, accumulator_precision, bias_precision
        Number formats of the layer's input, its running sum and its bias, if they are known.

    Raises
    ------
    InvalidInputError
        A value is out of its range.
    """

    n_in: int
    n_out: int
    io_type: str
    strategy: str
    weight_precision: Precision
    output_precision: Precision
    reuse_factor: int
    parallelization_factor: int = 1
    input_precision: Precision | None = field(default=None, kw_only=True)
    accumulator_precision: Precision | None = field(default=None, kw_only=True)
    bias_precision: Precision | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("n_in", "n_out", "reuse_factor", "parallelization_factor"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise InvalidInputError(
                    f"{name} must be a whole number of at least 1. Received: {name}={value!r}"
                )
            set_(self, name, int(value))
        if self.io_type not in IO_TYPES:
            raise InvalidInputError(
                f"io_type must be 'io_parallel' or 'io_stream'. Received: {self.io_type!r}"
            )
        canonical_strategy(self.strategy)
        set_(self, "weight_precision", parse_precision(self.weight_precision))
        set_(self, "output_precision", parse_precision(self.output_precision))
        for name in ("input_precision", "accumulator_precision", "bias_precision"):
            if getattr(self, name) is not None:
                set_(self, name, parse_precision(getattr(self, name)))


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


@dataclass
class LayerAttributes:
    """One layer, as objectives and the optimizer see it.

    Parameters
    ----------
    name
        The layer's name: its key in every dictionary of masks, offsets and attributes. A kernel of a layer
        with several goes by the layer's name and its own, ``'lstm/recurrent_kernel'``.
    layer_type
        The layer's class.
    inbound_layers
        Names of the layers whose output this one receives.
    weight_shape
        Shape of the kernel; ``()`` where there is none, or several, each with attributes of its own.
    input_shape, output_shape
        Shapes without the batch axis.
    optimizable
        Whether this layer takes part in the optimization.
    optimization_attributes
        Which groups, if it does.
    args
        Anything an objective wants to know, by name; ``'hls4ml_attributes'`` holds an
        :class:`hls4mlAttributes`.
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

    def update_args(self, updates: Mapping[str, Any]) -> None:
        """Add to what objectives may know of this layer."""
        self.args.update(updates)

    @property
    def grouping(self) -> Grouping:
        """How this layer's kernel is cut into groups.

        Raises
        ------
        InvalidInputError
            The layer has no kernel, or takes no part in the optimization.
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
        return str(self.args.get("layer_name", self.name))

    @property
    def multiplies(self) -> bool:
        """Whether there is a kernel that inputs are multiplied by: not a table of embeddings."""
        return bool(self.weight_shape) and bool(self.args.get("multiplies", True))

    @property
    def is_convolution(self) -> bool:
        """Whether hls4ml builds it as a convolution, as it does a Dense layer on several axes.

        The products of a recurrent layer are dense ones, step by step.
        """
        if "is_convolution" in self.args:
            return bool(self.args["is_convolution"])
        return len(self.weight_shape) > 2 or len(self.input_shape) > 1

    @property
    def positions(self) -> int:
        """How often the kernel is applied to one sample: pixels, steps, or once.

        An axis of unknown length counts once, so that results are then for each of its entries.
        """
        if "positions" in self.args:
            return int(self.args["positions"])
        known = [int(length) for length in self.output_shape if length]
        units = self.axes.n_columns
        if known and known[-1] == units:
            return math.prod(known[:-1])
        if known and known[0] == units:
            return math.prod(known[1:])
        return max(math.prod(known) // units, 1)

    def resized(self, rows: int, units: int) -> LayerAttributes:
        """Return what a kernel of fewer rows and units would be described as."""
        columns = self.axes.n_columns // self.axes.n_units * units
        args = {**self.args, "positions": self.positions, "is_convolution": self.is_convolution}
        hls = args.get("hls4ml_attributes")
        if hls is not None:
            args["hls4ml_attributes"] = replace(hls, n_in=rows, n_out=columns)
        return replace(
            self,
            weight_shape=(rows, columns),
            layout=None,
            args=args,
            consumers={},
            unit_classes=(),
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
