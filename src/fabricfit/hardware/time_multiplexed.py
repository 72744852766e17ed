"""LUTs and flip-flops of time-multiplexed products: Resource and ResourceUnrolled with RF > 1.

A loop of RF cycles: inputs are picked by the cycle, each multiplier adds to a sum, and where it serves
several outputs in turn (RF > n_in) it picks the sum it adds to and writes back to one of them. HLS pads
the multiplexer of the sums to a power of two of **all** outputs, unless a multiplier serves only two: that
is why LUTs jump with the number of outputs.
"""

from __future__ import annotations

from math import ceil, log2

from fabricfit.hardware import calibration as known
from fabricfit.hardware.dsp import dsps_per_multiplier
from fabricfit.hardware.product import Product, Work, check_product
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target

__all__ = [
    "built_multipliers",
    "count_adder_lut",
    "drops_multipliers",
    "ff_per_multiplier",
    "lut_per_multiplier",
    "multiplexed_ff",
    "multiplexed_lut",
]


def lut_per_multiplier(product: Product, target: TargetLike = DEFAULT_TARGET) -> float:
    """Return the LUTs that are saved for each multiplier without work.

    That is a multiplier's adder and multiplexers with ResourceUnrolled, and nothing with any other
    strategy. It is the derivative of :func:`product_lut` in ``work.multipliers`` as long as every output
    keeps a multiplier.
    """
    check_product(product)
    find_target(target)
    if not drops_multipliers(product):
        return 0.0
    outputs = max(product.reuse_factor // product.n_in, 0)
    return product.copies * (
        _count_multiplier_lut(product, find_target(target))
        + outputs * _count_demultiplexer_lut(product)
    )


def ff_per_multiplier(product: Product, target: TargetLike = DEFAULT_TARGET) -> float:
    """Return the flip-flops that are saved for each multiplier without work.

    As :func:`lut_per_multiplier` is for LUTs.
    """
    check_product(product)
    find_target(target)
    if not drops_multipliers(product):
        return 0.0
    outputs = max(product.reuse_factor // product.n_in, 0)
    each = _count_multiplier_ff(product, find_target(target))
    return product.copies * (each + outputs * product.accumulator_width)


def multiplexed_lut(product: Product, work: Work, target: Target, packed: bool) -> float:
    """Return the LUTs of one output position.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do; plain Resource does not heed it.
    target
        What it is built for and with.
    packed
        Whether inputs arrive as one wide word.
    """
    if target.laws.stages:
        return _count_rewound_lut(product, work, target)
    multipliers = built_multipliers(product, work)
    lut = multipliers * _count_multiplier_lut(product, target)
    lut += _count_outputs_served(product, multipliers) * _count_demultiplexer_lut(product)
    if product.multipliers == 1:
        lut += product.n_out * _count_demultiplexer_lut(product)
    if product.strategy == "resource_unrolled":
        return lut
    if product.reuse_factor < product.n_in:
        distinct = ceil(product.n_in / product.reuse_factor)
        return lut + distinct * _count_multiplexer_lut(product.reuse_factor, product.input_width)
    return lut + _count_selection_lut(product, packed)


def multiplexed_ff(product: Product, work: Work, target: Target) -> float:
    """Return the flip-flops of one output position, as :func:`multiplexed_lut` takes its arguments."""
    if target.laws.stages:
        return _count_rewound_ff(product, work, target)
    multipliers = built_multipliers(product, work)
    width = product.accumulator_width
    sums = width * _count_outputs_served(product, multipliers)
    if product.multipliers == 1:
        sums *= 2
    before_multipliers = _uses_dsp(product, target) != (_count_outputs_in_turn(product) > 2)
    read = product.input_width if before_multipliers else 0
    return known.LOOP_FF + read + sums + multipliers * _count_multiplier_ff(product, target)


def _count_rewound_lut(product: Product, work: Work, target: Target) -> float:
    """Return the LUTs of a loop that Vitis HLS restarts without a pause, which keeps its inputs itself."""
    multipliers = built_multipliers(product, work)
    turns = min(product.reuse_factor, product.n_in)
    picked = ceil(product.n_in / turns) * known.SPARSE_MUX_LUT * turns * product.input_width
    if product.strategy == "resource_unrolled":
        picked = multipliers * known.SPARSE_MUX_LUT * turns * product.input_width
    lut = known.REWOUND_LUT + 2 * known.PHI_LUT * product.n_in + picked
    lut += max(multipliers - product.n_out, 0) * count_adder_lut(product)
    if not _uses_dsp(product, target):
        lut += multipliers * product.weight_width * product.input_width
    served = _count_outputs_in_turn(product)
    if served > 1:
        lut += multipliers * _count_multiplexer_lut(served, product.accumulator_width)
        lut += _count_outputs_served(product, multipliers) * _count_demultiplexer_lut(product)
    return lut


def _count_rewound_ff(product: Product, work: Work, target: Target) -> float:
    """Return the flip-flops of such a loop: its inputs twice, its sums, and products that wait a cycle."""
    multipliers = built_multipliers(product, work)
    inputs = 2 * product.n_in * product.input_width
    sums = product.n_out * product.accumulator_width
    waits = target.product_ns + target.level_ns > target.usable_ns
    products = multipliers * product.accumulator_width if waits else 0
    return known.REWOUND_FF + inputs + sums + products


def _count_multiplier_lut(product: Product, target: Target) -> float:
    """Return the LUTs of one multiplier: product, adder, reading of the sum, own input if any."""
    lut = float(count_adder_lut(product) + (0 if _uses_dsp(product, target) else known.WRAPPER_LUT))
    served = _count_outputs_in_turn(product)
    if served > 2:
        lut += (
            _count_multiplexer_lut(product.n_out, product.accumulator_width)
            + known.OUTPUT_INDEX_LUT
        )
    elif served == 2:
        lut += _count_multiplexer_lut(2, product.accumulator_width)
    if product.strategy == "resource_unrolled":
        lut += _count_multiplexer_lut(min(product.reuse_factor, product.n_in), product.input_width)
    return lut


def _count_multiplier_ff(product: Product, target: Target) -> float:
    """Return the bits of the register next to one multiplier.

    Behind it, a product as wide as the sum, where picking a sum among many leaves no time in the
    cycle; else before it, its weight. A narrow product is quick enough to do with one stage less.
    """
    slow_sum = _count_outputs_in_turn(product) > 2
    pieces = dsps_per_multiplier(product.weight_width, product.input_width, target)
    inside = known.PIECE_FF * pieces if pieces > 1 else 0
    if pieces:
        return inside + (product.accumulator_width if slow_sum else product.weight_width)
    return product.weight_width if slow_sum else 0


def _count_selection_lut(product: Product, packed: bool) -> float:
    """Return the LUTs that pick one of all inputs, the same for all multipliers."""
    if not packed:
        return _count_multiplexer_lut(product.n_in, product.input_width)
    bits = product.n_in * product.input_width
    full = known.SHIFTER_BITS * log2(known.SHIFTER_BITS)
    shifter = known.SHIFTER_LUT * min(1.0, bits * log2(max(bits, 2)) / full)
    index = known.INDEX_LUT_PER_BIT * ceil(log2(max(bits, 2)))
    return 2 * shifter + known.SELECTION_LUT_PER_BIT * bits + index


def _count_multiplexer_lut(inputs: int, width: int) -> float:
    """Return the LUTs of an ``inputs``:1 multiplexer, padded to a power of two."""
    if inputs < 2:
        return 0.0
    padded = 1 << (inputs - 1).bit_length()
    if padded in known.MUX_LUT_PER_BIT:
        per_bit = known.MUX_LUT_PER_BIT[padded]
    else:
        per_bit = max(1.0, padded / 4) if padded < 32 else (padded - 1) / 3
    return per_bit * width + 1


def count_adder_lut(product: Product) -> int:
    """Return the LUTs of an adder as wide as the sum."""
    return product.accumulator_width + known.ADDER_EXTRA


def _count_demultiplexer_lut(product: Product) -> float:
    return known.DEMUX_LUT_PER_BIT * product.accumulator_width


def _uses_dsp(product: Product, target: Target) -> bool:
    return dsps_per_multiplier(product.weight_width, product.input_width, target) > 0


def _count_outputs_in_turn(product: Product) -> int:
    return min(max(ceil(product.reuse_factor / product.n_in), 1), product.n_out)


def _count_outputs_served(product: Product, multipliers: int) -> int:
    return min(product.n_out, multipliers * _count_outputs_in_turn(product))


def drops_multipliers(product: Product) -> bool:
    """Whether multipliers without work are left out."""
    return product.time_multiplexed and product.strategy == "resource_unrolled"


def built_multipliers(product: Product, work: Work) -> int:
    """Return the multipliers of one output position that are built."""
    return work.multipliers if drops_multipliers(product) else product.multipliers
