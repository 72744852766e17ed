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

from dataclasses import dataclass

from fabricfit.hardware.estimates import Estimate, joined_notes
from fabricfit.hardware.families import DEFAULT_FAMILY, Family, find_family
from fabricfit.hardware.product import Product

__all__ = ["BANDS", "Band", "bounded", "elsewhere", "kind", "outside"]

ADDER_EXTRA = 7
"""LUTs of a two-operand adder beyond its width: HLS counts 23 for 16 bits."""

TREE_EXTRA = 2.8
"""LUTs of an addition in a tree beyond its width: between three operands (0) and two (7). Free."""

MULTIPLE_ADDERS = 1.5
"""Adders in a multiple of two signed digits: one, and for the half that is negative a negation."""

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

WIDTH = 16
WEIGHT_WIDTHS = (2, 14)
SIZES = (32, 256)
"""Rows and columns: 32 to 224 and 32 to 256 were measured, and a seventh more is no other regime."""

CONSTANTS_UP_TO = 3072
"""Weights of the largest layer by constants that was measured."""

OUTPUTS_SHARED = (2, 32)
"""Outputs that share a multiplier, RF / n_in, as measured."""

LARGE_REUSE = 512
"""The smaller of the two reuse factors above 1 that were measured with Latency; 1024 is the other."""

RANGE_FACTOR = 1.5
"""What an error bar is stretched by, at either end, where a width or size was not measured."""

STRUCTURE_FACTOR = 2.0
"""The same where a structure was not measured: another strategy, interface or loop nest."""


@dataclass(frozen=True)
class Band:
    """Ratios of a report to the estimate that enclose nine of ten reports."""

    low: float
    high: float


BANDS = {
    ("time-multiplexed", "lut"): Band(0.95, 1.05),
    ("time-multiplexed", "ff"): Band(0.95, 1.05),
    ("latency", "lut"): Band(0.90, 1.10),
    ("latency", "ff"): Band(0.70, 1.30),
    ("shared", "lut"): Band(0.85, 1.15),
    ("shared", "ff"): Band(0.70, 1.40),
    ("resource at 1", "lut"): Band(0.90, 1.10),
    ("resource at 1", "ff"): Band(0.75, 2.00),
    ("adders", "lut"): Band(0.50, 1.20),
    ("adders", "ff"): Band(0.50, 2.00),
}
"""By what is built and the resource: what encloses nine of ten calibration runs, rounded outwards to
0.05. Flip-flops of Resource at RF = 1 reach 2.0, as with 96 inputs and weights of 6 bits and fewer
the registers lie deeper in the trees. For adders nothing was measured; these are the authors'
guess, around the sharing of equal parts that adder graphs reach."""


def kind(product: Product) -> str:
    """Return which band is a product's.

    ``'time-multiplexed'``; ``'latency'`` and ``'resource at 1'`` for weights as constants;
    ``'shared'`` for these with a reuse factor above 1; ``'adders'``.
    """
    if product.by_adders:
        return "adders"
    if product.time_multiplexed:
        return "time-multiplexed"
    if product.reuse_factor > 1:
        return "shared"
    return "latency" if product.strategy == "latency" else "resource at 1"


def outside(product: Product) -> tuple[str, float]:
    """Return what of a product was not measured, in words, and what its error bars stretch by.

    An empty text and 1 for a product like those that were.
    """
    structures, ranges = _list_unmeasured_structures(product), _list_unmeasured_ranges(product)
    note = joined_notes(f"not measured: {reason}" for reason in structures + ranges)
    if structures:
        return note, STRUCTURE_FACTOR
    return note, RANGE_FACTOR if ranges else 1.0


def bounded(value: float, product: Product, resource: str, unusual: str = "") -> Estimate:
    """Give a value the error bar of its band, stretched where the product is outside the data.

    Parameters
    ----------
    value
        LUTs or flip-flops of the product.
    product
        What they are of.
    resource
        ``'lut'`` or ``'ff'``.
    unusual
        A structure that was not measured and that the product does not tell.
    """
    band = BANDS[kind(product), resource]
    note, factor = outside(product)
    if unusual:
        note, factor = joined_notes((note, f"not measured: {unusual}")), STRUCTURE_FACTOR
    return Estimate(value, value * band.low / factor, value * band.high * factor, note)


def elsewhere(estimate: Estimate, family: str | Family) -> Estimate:
    """Stretch the error bar of LUTs or flip-flops for a family that was not measured.

    AMD's others have the same LUTs with other delays, so other pipelines; Intel's logic is another.
    """
    chosen = find_family(family)
    if chosen.name == DEFAULT_FAMILY:
        return estimate
    factor = STRUCTURE_FACTOR if chosen.labels else RANGE_FACTOR
    note = joined_notes((estimate.note, f"not measured: LUTs and FFs of {chosen.name}"))
    return Estimate(estimate.value, estimate.low / factor, estimate.high * factor, note)


def _list_unmeasured_structures(product: Product) -> list[str]:
    reasons = []
    if product.io_type != "io_parallel":
        reasons.append(product.io_type)
    if product.convolution or product.positions > 1:
        reasons.append("a convolution")
    if product.by_adders:
        reasons.append("distributed arithmetic")
    if product.strategy == "resource_unrolled" and product.time_multiplexed:
        reasons.append("ResourceUnrolled")
    if product.time_multiplexed and product.reuse_factor < OUTPUTS_SHARED[0] * product.n_in:
        reasons.append("a multiplier that serves less than two outputs")
    if product.by_constants and 1 < product.reuse_factor < LARGE_REUSE:
        reasons.append(f"a reuse factor from 2 to {LARGE_REUSE - 1} with Latency")
    return reasons


def _list_unmeasured_ranges(product: Product) -> list[str]:
    reasons = []
    if product.input_width != WIDTH or product.accumulator_width != WIDTH:
        reasons.append(f"inputs or sums of other than {WIDTH} bits")
    if not WEIGHT_WIDTHS[0] <= product.weight_width <= WEIGHT_WIDTHS[1]:
        reasons.append(f"weights outside {WEIGHT_WIDTHS[0]} to {WEIGHT_WIDTHS[1]} bits")
    sizes = (product.n_in, product.n_out)
    if min(sizes) < SIZES[0] or max(sizes) > SIZES[1]:
        reasons.append(f"inputs or outputs outside {SIZES[0]} to {SIZES[1]}")
    if product.time_multiplexed:
        if product.reuse_factor > OUTPUTS_SHARED[1] * product.n_in:
            reasons.append(f"a multiplier that serves more than {OUTPUTS_SHARED[1]} outputs")
    elif product.size > CONSTANTS_UP_TO:
        reasons.append(f"more than {CONSTANTS_UP_TO} weights as constants")
    return reasons
