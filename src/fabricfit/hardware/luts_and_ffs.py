"""LUTs and flip-flops of a layer's matrix product, as HLS reports them.

The laws count what hls4ml's templates make the compiler build; :mod:`fabricfit.hardware.calibration`
holds their constants, with the measurements behind them.

Time-multiplexed (Resource and ResourceUnrolled with RF > 1)
    a loop of RF cycles: inputs are picked by the cycle, each multiplier adds to a sum, and where it
    serves several outputs in turn (RF > n_in) it picks the sum it adds to and writes back to one of
    them. HLS pads the multiplexer of the sums to a power of two of **all** outputs, unless a
    multiplier serves only two: that is why LUTs jump with the number of outputs.
Constants (Latency; Resource at RF = 1)
    trees of adders over the non-zero weights, and shift-and-add multiples of the inputs for weights
    that use no DSP. With RF > 1 the multipliers are shared, which LUTs hardly feel; their results
    wait in flip-flops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, log2

import numpy as np

from fabricfit.hardware import calibration as known
from fabricfit.hardware.calibration import bounded
from fabricfit.hardware.dsp import dsps_per_multiplier
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.product import Product, Work, csd_digits

__all__ = [
    "ConstantCosts",
    "ff_per_multiplier",
    "lut_of_constants",
    "lut_per_multiplier",
    "product_ff",
    "product_lut",
]

_PARTITIONED = "an input that is in separate registers"


@dataclass(frozen=True)
class ConstantCosts:
    """LUTs of the parts of a product with constants, for all positions computed at once.

    Parameters
    ----------
    per_nonzero
        Adding the product of one non-zero weight to its sum.
    per_adder
        A multiple of an input by a constant of two signed digits.
    per_digit
        Each further digit of a constant, where its product is built without a DSP.
    per_multiplier
        LUTs beside the DSP of a product that uses one.
    """

    per_nonzero: float
    per_adder: float
    per_digit: float
    per_multiplier: float


def product_lut(product: Product, work: Work) -> Estimate:
    """Estimate the LUTs of a layer's matrix product.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do. Plain Resource with RF > 1 does not heed it.

    Notes
    -----
    To pick an input of a packed word, HLS shifts the whole word, which uses thousands of LUTs; of
    registers it uses a multiplexer. Only packed inputs were measured; with ``io_stream`` and for
    convolutions they never are. It matters for plain Resource with RF >= n_in only.

    Against the check rows of Vivado HLS 2020.1 the law is off by less than 1% in every
    time-multiplexed layer; where weights are constants the median error is 1% with RF = 1 and 3%
    with RF > 1. A negative power of two needs a negation, which is not counted by itself: layers of
    weights of four bits and fewer are off by up to 10%, and by up to 16% with RF > 1.

    With ResourceUnrolled it is open whether additions share adders as multiplications share
    multipliers; the upper end assumes that they do not.
    """
    if not product.time_multiplexed:
        return bounded(_estimate_constants_lut(product, work), product, "lut")
    unrolled = product.strategy == "resource_unrolled"
    packed = product.packed_input and product.io_type == "io_parallel" and not product.convolution
    picks = not unrolled and product.reuse_factor >= product.n_in
    value = _estimate_multiplexed_lut(product, _count_built_multipliers(product, work), packed)
    unusual = _PARTITIONED if picks and not packed else ""
    estimate = bounded(value * product.copies, product, "lut", unusual)
    if not unrolled:
        return estimate
    unshared = max(work.nonzeros - work.multipliers, 0) * _count_adder_lut(product) * product.copies
    return replace(estimate, high=max(estimate.high, value * product.copies + unshared))


def product_ff(product: Product, work: Work) -> Estimate:
    """Estimate the flip-flops of a layer's matrix product.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do. Plain Resource with RF > 1 does not heed it.

    Notes
    -----
    Where weights are constants, the flip-flops are those of pipeline registers that HLS places by
    its timing model. Sums of up to 16 inputs without products may have none; such a layer gets the
    value without, and an upper end with them.
    """
    if product.by_adders:
        registers = float(product.n_in * product.input_width + product.n_out * product.output_width)
    elif product.time_multiplexed:
        registers = _estimate_multiplexed_ff(product, _count_built_multipliers(product, work))
    else:
        registers = _estimate_constants_ff(product, work)
    estimate = bounded(registers * product.copies, product, "ff")
    if not _fits_one_cycle(product, work):
        return estimate
    uncut = product.copies * product.n_in * product.input_width
    least = bounded(uncut, product, "ff")
    return replace(least, high=max(least.high, estimate.high))


def lut_per_multiplier(product: Product) -> float:
    """Return the LUTs that are saved for each multiplier without work.

    That is a multiplier's adder and multiplexers with ResourceUnrolled, and nothing with any other
    strategy. It is the derivative of :func:`product_lut` in ``work.multipliers`` as long as every output
    keeps a multiplier.
    """
    if not _drops_multipliers(product):
        return 0.0
    outputs = max(product.reuse_factor // product.n_in, 0)
    return product.copies * (
        _count_multiplier_lut(product) + outputs * _count_demultiplexer_lut(product)
    )


def ff_per_multiplier(product: Product) -> float:
    """Return the flip-flops that are saved for each multiplier without work.

    As :func:`lut_per_multiplier` is for LUTs.
    """
    if not _drops_multipliers(product):
        return 0.0
    outputs = max(product.reuse_factor // product.n_in, 0)
    return product.copies * (_count_multiplier_ff(product) + outputs * product.accumulator_width)


def lut_of_constants(product: Product) -> ConstantCosts:
    """Return what parts of a product with constants cost; :func:`product_lut` is their sum.

    With distributed arithmetic each digit of each weight is one addition as wide as the sum, before
    equal parts are shared.
    """
    copies = product.copies
    if product.by_adders:
        addition = float(product.accumulator_width * copies)
        return ConstantCosts(addition, addition, addition, 0.0)
    adder = product.input_width + known.ADDER_EXTRA
    return ConstantCosts(
        per_nonzero=copies * (product.accumulator_width + known.TREE_EXTRA),
        per_adder=copies * known.MULTIPLE_ADDERS * adder,
        per_digit=float(copies * adder),
        per_multiplier=float(copies * known.WRAPPER_LUT if product.strategy == "latency" else 0),
    )


def _estimate_constants_lut(product: Product, work: Work) -> float:
    """Sum :func:`lut_of_constants`; the first term of each output needs no addition."""
    costs = lut_of_constants(product)
    if product.by_adders:
        return costs.per_digit * work.digits
    if _uses_dsp(product):
        per_constant = costs.per_multiplier
    else:
        further = _count_hard_digits(product.weight_width) - 2
        per_constant = costs.per_adder + further * costs.per_digit
    additions = max(work.nonzeros - product.n_out, 0)
    return (
        additions * costs.per_nonzero
        + work.adders * costs.per_adder
        + (work.constants + work.small) * per_constant
    )


def _estimate_constants_ff(product: Product, work: Work) -> float:
    width, constants = product.accumulator_width, work.constants + work.small
    inputs, outputs = product.n_in * product.input_width, product.n_out * width
    registered = known.PRODUCT_FF * width * constants + known.MULTIPLE_FF * width * work.adders
    if product.strategy != "latency":
        return outputs + registered
    cut = width * (known.TREE_FF * work.nonzeros + known.TREE_PRODUCT_FF * constants)
    waiting = 0.0
    if constants and product.reuse_factor > 1:
        waiting = known.WAITING_PRODUCT_FF * width * constants
        waiting += known.WAITING_MULTIPLE_FF * product.input_width * work.adders
    first = 1 / product.reuse_factor
    return inputs + first * outputs + (first if waiting else 1.0) * cut + (1 - first) * waiting


def _fits_one_cycle(product: Product, work: Work) -> bool:
    """Whether a Latency layer can be done between its input registers and the next layer's."""
    if not product.by_constants or product.strategy != "latency":
        return False
    only_sums = not (work.constants or work.adders or work.small)
    return only_sums and work.nonzeros <= known.SUMS_IN_ONE_CYCLE * product.n_out


def _estimate_multiplexed_lut(product: Product, multipliers: int, packed: bool) -> float:
    lut = multipliers * _count_multiplier_lut(product)
    lut += _count_outputs_served(product, multipliers) * _count_demultiplexer_lut(product)
    if product.multipliers == 1:
        lut += product.n_out * _count_demultiplexer_lut(product)
    if product.strategy == "resource_unrolled":
        return lut
    if product.reuse_factor < product.n_in:
        distinct = ceil(product.n_in / product.reuse_factor)
        return lut + distinct * _count_multiplexer_lut(product.reuse_factor, product.input_width)
    return lut + _count_selection_lut(product, packed)


def _estimate_multiplexed_ff(product: Product, multipliers: int) -> float:
    width = product.accumulator_width
    sums = width * _count_outputs_served(product, multipliers)
    if product.multipliers == 1:
        sums *= 2
    before_multipliers = _uses_dsp(product) != (_count_outputs_in_turn(product) > 2)
    read = product.input_width if before_multipliers else 0
    return known.LOOP_FF + read + sums + multipliers * _count_multiplier_ff(product)


def _count_multiplier_lut(product: Product) -> float:
    """Return the LUTs of one multiplier: product, adder, reading of the sum, own input if any."""
    lut = float(_count_adder_lut(product) + (0 if _uses_dsp(product) else known.WRAPPER_LUT))
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


def _count_multiplier_ff(product: Product) -> int:
    """Return the bits of the register next to one multiplier.

    Behind it, a product as wide as the sum, where picking a sum among many leaves no time in the
    cycle; else before it, its weight. A narrow product is quick enough to do with one stage less.
    """
    slow_sum = _count_outputs_in_turn(product) > 2
    if _uses_dsp(product):
        return product.accumulator_width if slow_sum else product.weight_width
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


def _count_adder_lut(product: Product) -> int:
    return product.accumulator_width + known.ADDER_EXTRA


def _count_demultiplexer_lut(product: Product) -> float:
    return known.DEMUX_LUT_PER_BIT * product.accumulator_width


def _uses_dsp(product: Product) -> bool:
    return dsps_per_multiplier(product.weight_width, product.input_width) > 0


def _count_outputs_in_turn(product: Product) -> int:
    return min(max(ceil(product.reuse_factor / product.n_in), 1), product.n_out)


def _count_outputs_served(product: Product, multipliers: int) -> int:
    return min(product.n_out, multipliers * _count_outputs_in_turn(product))


def _drops_multipliers(product: Product) -> bool:
    return product.time_multiplexed and product.strategy == "resource_unrolled"


def _count_built_multipliers(product: Product, work: Work) -> int:
    return work.multipliers if _drops_multipliers(product) else product.multipliers


@lru_cache(maxsize=64)
def _count_hard_digits(weight_width: int) -> float:
    """Return the mean number of signed digits of constants that have more than two."""
    digits = csd_digits(np.arange(2 ** min(max(weight_width - 1, 5), 16)))
    return float(digits[digits > 2].mean())
