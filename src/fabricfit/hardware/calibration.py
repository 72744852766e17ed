"""Constants of the LUT, FF and timing laws, where they come from, and how error bars are made.

All are read from the reports of 523 runs of Vivado HLS 2020.1 (hls4ml, one dense layer, UltraScale+
at 5 ns, inputs, sums and results of 16 bits). They are LUTs and flip-flops as **HLS reports** them;
logic synthesis afterwards often needs fewer.

Constants of time-multiplexed layers come from the runs with 32 and 160 inputs; those with 96 and
224 inputs check them. Constants of layers whose weights are constants come from the runs with 32
and 96 outputs; those with 64 outputs check them. ``benchmarks/calibrate_fabric.py`` derives them
again and prints the errors.
"""

from __future__ import annotations

from functools import lru_cache

from fabricfit.hardware.estimates import Estimate, joined_notes
from fabricfit.hardware.families import find_family
from fabricfit.hardware.product import Product
from fabricfit.hardware.targets import DEFAULT_TARGET, Target

__all__ = ["bounded", "elsewhere", "kind", "outside"]

ADDER_EXTRA = 7
"""LUTs of a two-operand adder beyond its width: HLS counts 23 for 16 bits."""

WRAPPER_LUT = 5
"""LUTs that HLS counts for a multiplier that is not registered inside its DSP."""

MUX_LUT_PER_BIT = {32: 9.0, 64: 16.5, 128: 41.5, 256: 84.6}
"""LUTs per bit of an n:1 multiplexer as HLS counts it; n/4 below, with the MUXF7 and MUXF8 of a
slice, and (n - 1)/3 above, a tree of 4:1 multiplexers of one LUT6 each."""

DEMUX_LUT_PER_BIT = 1.5
"""LUTs per bit of each accumulator, to keep its value, load the bias or load the new sum."""

OUTPUT_INDEX_LUT = 8
"""LUTs per multiplier to form the number of the output it adds to, with more than two to choose."""

SHIFTER_LUT = 2150
"""LUTs of a barrel shifter as HLS counts it for 512 bits; it counts no more for wider ones."""

SHIFTER_BITS = 512

SELECTION_LUT_PER_BIT = 2
"""LUTs per bit of a packed input vector to pick one input: two levels of gates on the vector."""

INDEX_LUT_PER_BIT = 33
"""LUTs per bit of a bit position in the packed vector: the adders and comparators that form it."""

LOOP_FF = 109
"""Flip-flops of loop counters and the state machine of a time-multiplexed layer."""

TREE_FF = 0.06
"""Flip-flops per bit of the sum and non-zero weight where a pipeline register cuts the trees."""

TREE_PRODUCT_FF = 0.12
"""The same in addition for products from DSPs: being slower, they move the cut to more terms."""

PRODUCT_FF = 0.58
"""Flip-flops per bit of the sum and constant, where registers follow the multipliers (Resource)."""

MULTIPLE_FF = 0.37
"""Flip-flops per bit of the sum and two-digit multiple in such a layer."""

WAITING_PRODUCT_FF = 0.7
"""Flip-flops per bit of the sum and product of a shared multiplier that waits for the others."""

WAITING_MULTIPLE_FF = 1.25
"""Flip-flops per bit of the input and two-digit multiple that waits for the shared multipliers."""

SUMS_IN_ONE_CYCLE = 16
"""Inputs per output, in the mean, that 5 ns suffice to add: two of three layers with 12 of them
had no register, and all with 24 or more did."""

CAST_LUT = 30
"""LUTs an output that Vitis HLS was seen to need beyond its sums, in layers of three inputs: up to 27."""

WINDOW_FF_PER_BIT = 1.05
"""Flip-flops of a convolution in a stream for each bit of its window of pixels."""

LINE_FF = 64
"""Flip-flops beside a channel's line buffer of a convolution or a pooling in a stream, in 7 of 7 layers of
Vitis HLS 2023.2 and 2024.2, however long the line is and however wide the numbers are."""

REWOUND_LUT = 150
"""LUTs of the counters and the control of a time-multiplexed layer of Vitis HLS."""

REWOUND_FF = 95
"""The same in flip-flops."""

PHI_LUT = 9
"""LUTs of a 2:1 multiplexer as Vitis HLS counts it, whatever its width; each input passes two."""

SPARSE_MUX_LUT = 0.72
"""LUTs of a multiplexer for each bit of each of its inputs: 217 for 50 inputs of 6 bits."""

PIECE_FF = 70
"""Flip-flops inside a multiplier for each of the pieces that a wide product is cut into."""

OUTPUTS_SHARED = (2, 32)
"""Outputs that share a multiplier, RF / n_in, as measured."""

LARGE_REUSE = 512
"""The smaller of the two reuse factors above 1 that were measured with Latency; 1024 is the other."""

RANGE_FACTOR = 1.5
"""What an error bar is stretched by, at either end, where a width or size was not measured."""

STRUCTURE_FACTOR = 2.0
"""The same where a structure was not measured: another strategy, interface or loop nest."""


def kind(product: Product, target: Target = DEFAULT_TARGET) -> str:
    """Return which band is a product's.

    ``'time-multiplexed'``; ``'latency'`` and ``'resource at 1'`` for weights as constants; ``'shared'`` for
    these with a reuse factor above 1; ``'adders'``; ``'convolution in a stream'`` where the tool's laws
    have it.
    """
    if product.by_adders:
        return "adders"
    if product.time_multiplexed:
        if product.is_windowed and ("convolution in a stream", "lut") in target.laws.bands:
            return "convolution in a stream"
        return "time-multiplexed"
    if product.reuse_factor > 1:
        return "shared"
    return "latency" if product.strategy == "latency" else "resource at 1"


@lru_cache(maxsize=4096)
def outside(product: Product, target: Target = DEFAULT_TARGET) -> tuple[str, float]:
    """Return what of a product was not measured, in words, and what its error bars stretch by.

    An empty text and 1 for a product like those that were.
    """
    structures = _list_unmeasured_structures(product, target)
    ranges = _list_unmeasured_ranges(product, target)
    note = joined_notes(f"not measured: {reason}" for reason in structures + ranges)
    if structures:
        return note, STRUCTURE_FACTOR
    return note, RANGE_FACTOR if ranges else 1.0


def bounded(
    value: float,
    product: Product,
    resource: str,
    target: Target = DEFAULT_TARGET,
    unusual: str = "",
) -> Estimate:
    """Give a value the error bar of its band, stretched where the product is outside the data.

    Parameters
    ----------
    value
        LUTs or flip-flops of the product.
    product
        What they are of.
    resource
        ``'lut'`` or ``'ff'``.
    target
        What it is built for and with.
    unusual
        A structure that was not measured and that the product does not tell.
    """
    band = target.laws.bands[kind(product, target), resource]
    note, factor = outside(product, target)
    if unusual:
        note, factor = joined_notes((note, f"not measured: {unusual}")), STRUCTURE_FACTOR
    high = value * band.high * factor
    if resource == "lut" and target.laws.stages and value:
        high = max(high, value + CAST_LUT * product.n_out * product.copies)
    return Estimate(value, value * band.low / factor, high, note)


def elsewhere(estimate: Estimate, target: Target) -> Estimate:
    """Stretch the error bar of LUTs or flip-flops for a family, clock or version that was not measured.

    AMD's families have the same LUTs with other delays, so other pipelines; Intel's logic is another.
    """
    measured = target.laws.measured
    reasons, factor = [], 1.0
    if target.family not in measured.families:
        reasons.append(f"LUTs and FFs of {target.family}")
        factor = STRUCTURE_FACTOR if find_family(target.family).labels else RANGE_FACTOR
    low, high = measured.clocks
    if not low <= target.clock_ns <= high:
        reasons.append(f"LUTs and FFs at {target.clock_ns:g} ns")
        factor = max(factor, RANGE_FACTOR)
    seen = (target.laws.name, *(f"{target.program} {one}" for one in measured.versions))
    if target.tool not in seen:
        reasons.append(f"LUTs and FFs of {target.tool}, counted as {target.laws.name}'s")
        factor = max(factor, RANGE_FACTOR)
    if not reasons:
        return estimate
    note = joined_notes((estimate.note, *(f"not measured: {reason}" for reason in reasons)))
    return Estimate(estimate.value, estimate.low / factor, estimate.high * factor, note)


def _list_unmeasured_structures(product: Product, target: Target) -> list[str]:
    reasons = []
    measured = target.laws.measured
    window = product.is_windowed
    if not (window and "convolution in a stream" in measured.structures):
        if product.io_type != "io_parallel" and product.io_type not in measured.structures:
            reasons.append(product.io_type)
        if product.convolution or product.positions > 1:
            reasons.append("a convolution")
    if product.by_adders:
        reasons.append("distributed arithmetic")
    if product.time_multiplexed:
        reasons += _list_unmeasured_loops(product, target, window)
    elif product.by_constants:
        low, high = measured.reuse
        if product.reuse_factor > 1 and product.reuse_factor < low:
            reasons.append(f"a reuse factor from 2 to {low - 1} with Latency")
        elif product.reuse_factor > 1 and low > high:
            reasons.append("a reuse factor above 1 with Latency")
        if product.strategy != "latency" and "resource at 1" not in measured.structures:
            reasons.append("Resource with a reuse factor of 1")
    return reasons


def _list_unmeasured_loops(product: Product, target: Target, window: bool) -> list[str]:
    reasons = []
    if "time-multiplexed" not in target.laws.measured.structures:
        reasons.append("time-multiplexed layers")
    if product.strategy == "resource_unrolled":
        reasons.append("ResourceUnrolled")
    shared = OUTPUTS_SHARED[0] * product.n_in
    if product.reuse_factor < shared and not window and not target.laws.stages:
        reasons.append("a multiplier that serves less than two outputs")
    return reasons


def _list_unmeasured_ranges(product: Product, target: Target) -> list[str]:
    reasons = []
    measured = target.laws.measured
    for name, width, (low, high) in (
        ("inputs", product.input_width, measured.input_widths),
        ("sums", product.accumulator_width, measured.sum_widths),
        ("weights", product.weight_width, measured.weight_widths),
    ):
        if not low <= width <= high:
            known = f"{low} to {high}" if low < high else f"{low}"
            reasons.append(f"{name} of other than {known} bits")
    sizes = (product.n_in, product.n_out)
    low, high = measured.sizes
    if min(sizes) < low or max(sizes) > high:
        reasons.append(f"inputs or outputs outside {low} to {high}")
    if product.time_multiplexed:
        if product.reuse_factor > OUTPUTS_SHARED[1] * product.n_in:
            reasons.append(f"a multiplier that serves more than {OUTPUTS_SHARED[1]} outputs")
    elif product.size > measured.constants_up_to:
        reasons.append(f"more than {measured.constants_up_to} weights as constants")
    return reasons
