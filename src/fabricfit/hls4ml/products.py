"""A layer's products as hls4ml builds them: what its groups mean in multipliers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fabricfit.description.attributes import LayerAttributes, hls4mlAttributes
from fabricfit.description.precision import FixedPrecision, fixed_point
from fabricfit.description.strategies import (
    SHARED_MULTIPLIERS,
    canonical_strategy,
    spell_strategy,
)
from fabricfit.description.structures import SUPPORTED_STRUCTURES
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.bram import weight_bram18
from fabricfit.hardware.dsp import DEFAULT_INPUT_WIDTH, dsps_per_multiplier
from fabricfit.hardware.families import find_family
from fabricfit.hardware.product import Product
from fabricfit.hardware.targets import DEFAULT_TARGET, TargetLike, find_target
from fabricfit.hls4ml.reuse_factor import built_reuse_factor, effective_strategy

__all__ = [
    "MatrixProduct",
    "hls4ml_attributes",
    "product_of",
    "realized_product",
    "weight_format",
    "why_calls_differ",
    "why_not_built",
]


def hls4ml_attributes(layer_attributes: LayerAttributes) -> hls4mlAttributes:
    """Return what the hls4ml configuration says of a layer.

    Raises
    ------
    InvalidInputError
        The attributes were read without a configuration.
    """
    found = layer_attributes.hls4ml
    if found is None:
        raise InvalidInputError(
            f"layer {layer_attributes.name!r} has no hls4ml attributes, which objectives for FPGAs "
            "need. Read the model with get_attributes_from_keras_model_and_hls4ml_config"
            "(model, config)."
        )
    return found


def weight_format(layer_attributes: LayerAttributes) -> FixedPrecision:
    """Return the fixed-point format of a layer's weights.

    Raises
    ------
    InvalidInputError
        The attributes were read without a configuration, or the format has no binary point.
    """
    return fixed_point(
        hls4ml_attributes(layer_attributes).weight_precision,
        f"the weight precision of layer {layer_attributes.name!r}",
    )


def why_not_built(layer_attributes: LayerAttributes) -> str:
    """Say why hls4ml does not build a layer so that its pruned weights save anything, or ``''``."""
    known = layer_attributes.strategies
    asked = canonical_strategy(hls4ml_attributes(layer_attributes).strategy)
    if not known or asked in known:
        return ""
    kind = layer_attributes.layer_type.__name__
    return (
        f"hls4ml has no code for {kind} with the strategy {asked!r} that leaves out pruned weights. "
        f"Use {' or '.join(map(repr, known))}."
    )


def why_calls_differ(layer_attributes: LayerAttributes) -> str:
    """Say how hls4ml builds the calls of a layer in different ways, or ``''`` where it does not.

    They multiply by the same weights, which cannot be chosen for two ways of building at once.
    """

    def describe(call: LayerAttributes) -> str:
        hls = hls4ml_attributes(call)
        strategy = spell_strategy(hls.strategy)
        return f"{strategy}, ReuseFactor {hls.reuse_factor}, weights of {hls.weight_precision}"

    first, *others = layer_attributes.calls
    for call in others:
        if describe(call) != describe(first):
            return (
                f"hls4ml builds its calls in different ways: {first.hls4ml_name!r} with {describe(first)}, "
                f"{call.hls4ml_name!r} with {describe(call)}. State the same for both."
            )
    return ""


def product_of(layer_attributes: LayerAttributes, target: TargetLike = DEFAULT_TARGET) -> Product:
    """Read a layer's matrix product off its attributes.

    What hls4ml falls back from is resolved (strategy, reuse factor). The running sum has the width that
    the configuration states, else as many bits as it can need; an input that is not known has 16.

    Parameters
    ----------
    layer_attributes
        A layer with a kernel.
    target
        What it is built for and with, or a name of :func:`fabricfit.hardware.families`.

    Raises
    ------
    InvalidInputError
        The attributes were read without a configuration.
    """
    hls = hls4ml_attributes(layer_attributes)
    strategy = find_family(find_target(target).family).built(
        effective_strategy(
            hls.strategy,
            hls.reuse_factor,
            hls.io_type,
            layer_attributes.is_convolution,
            layer_attributes.built_instead,
        )
    )
    shape = layer_attributes.reuse_shape
    reuse = built_reuse_factor(hls.n_in, hls.n_out, hls.reuse_factor, strategy, shape)
    if strategy in SHARED_MULTIPLIERS:
        reuse = min(reuse, hls.n_in * hls.n_out)  # one multiplier has no more work than all weights
    weight = hls.weight_precision.width
    known = hls.input_precision
    inputs = known.width if known is not None else DEFAULT_INPUT_WIDTH
    total = hls.accumulator_precision
    widest = weight + inputs + (hls.n_in - 1).bit_length()
    positions = layer_attributes.positions
    return Product(
        hls.n_in,
        hls.n_out,
        weight,
        inputs,
        hls.output_precision.width,
        total.width if total is not None else widest,
        strategy,
        reuse,
        hls.io_type,
        min(hls.parallelization_factor, positions) if hls.io_type == "io_parallel" else 1,
        positions,
        layer_attributes.is_convolution,
        layer_attributes.reads_model_input,
        *_read_stream(layer_attributes, hls.io_type),
    )


def _read_stream(layer: LayerAttributes, io_type: str) -> tuple[int, int, int]:
    """Return the padded pixels, the channels and the kernel's rows of a convolution in a stream."""
    if io_type != "io_stream" or not layer.is_convolution:
        return 0, 0, 0
    pixels, rows, size = layer.window
    return pixels, max(layer.axes.n_rows // size, 1), rows


def realized_product(
    layer_attributes: LayerAttributes, target: TargetLike = DEFAULT_TARGET
) -> Product:
    """Return a layer's product, so built that pruned multipliers are removed.

    That is ResourceUnrolled in the place of Resource where hls4ml can build it, else what
    :func:`product_of` says. The arguments are the same.
    """
    product = product_of(layer_attributes, target)
    parallel = product.convolution and product.io_type == "io_parallel"
    unbuilt = "resource_unrolled" in find_target(target).unbuilt
    if product.strategy != "resource" or product.reuse_factor == 1 or parallel or unbuilt:
        return product
    hls = replace(hls4ml_attributes(layer_attributes), strategy="ResourceUnrolled")
    return product_of(layer_attributes.with_hls4ml(hls), target)


@dataclass(frozen=True)
class MatrixProduct:
    """The multipliers of one layer, and what of them its groups can save.

    Parameters
    ----------
    product
        The layer's matrix product. With Latency its reuse factor counts as 1: a larger one was seen to
        save hardly any DSP.
    dsps
        DSP blocks that go with one multiplier, over all calls, and all output positions computed at once.
    calls
        Number of calls of the layer, each of which is built with weights of its own.
    """

    product: Product
    dsps: int
    calls: int = 1

    @classmethod
    def of(cls, layer_attributes: LayerAttributes) -> MatrixProduct:
        """Read it off a layer with a kernel."""
        products = [product_of(call) for call in layer_attributes.calls]
        product, dsps = products[0], 0
        if not product.by_adders:
            dsps = sum(
                dsps_per_multiplier(each.weight_width, each.input_width) * each.copies
                for each in products
            )
        if product.strategy not in SHARED_MULTIPLIERS:
            product = replace(product, reuse_factor=1)
        return cls(product, dsps, len(products))

    @property
    def strategy(self) -> str:
        """The strategy that is built."""
        return self.product.strategy

    @property
    def reuse_factor(self) -> int:
        """Weights of each multiplier."""
        return self.product.reuse_factor

    @property
    def weight_width(self) -> int:
        """Bits of a weight."""
        return self.product.weight_width

    @property
    def by_pattern(self) -> bool:
        """Whether multipliers, not single weights, are what can be saved."""
        return self.strategy in SHARED_MULTIPLIERS

    @property
    def multipliers(self) -> int:
        """Number of multipliers, for one output position."""
        return self.product.multipliers

    def bram18(self, patterns: int) -> int:
        """RAMB18 that hold the weights of so many multipliers; none unless RF > 1."""
        return self.calls * weight_bram18(patterns, self.weight_width, self.reuse_factor)

    def multipliers_per_group(self, layer_attributes: LayerAttributes) -> int:
        """Return the multipliers that surely have no work left without one full group.

        A multiplier serves RF consecutive weights, output by output. Of a pattern or a unit all
        members are consecutive; of a block those in one column are.
        """
        groups = layer_attributes.grouping
        if groups.structure is SUPPORTED_STRUCTURES.STRUCTURED:
            rows = self.product.n_in
            return groups.group_size // rows * self._count_whole_runs(rows)
        if groups.structure is SUPPORTED_STRUCTURES.BLOCK:
            rows, columns = groups.block_shape
            columns = min(columns, self.product.n_out)
            return columns * self._count_whole_runs(min(rows, self.product.n_in))
        return self._count_whole_runs(groups.group_size)

    def _count_whole_runs(self, length: int) -> int:
        """Count the runs of RF weights inside any stretch of so many that starts at a multiple."""
        if length % self.reuse_factor == 0 or length == self.product.size:
            return -(-length // self.reuse_factor)
        return max((length + 1) // self.reuse_factor - 1, 0)
