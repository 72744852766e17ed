"""DSP blocks of the products of a layer.

The laws were established on 987 runs of Vivado HLS 2020.1 (one dense layer, 16-bit inputs,
UltraScale+) and on reports of public hls4ml projects built with Vitis HLS 2021.1 and 2024.1; half of
those runs are in the repository's tests. Splitting of wide products follows the port widths of the DSP
blocks and was seen in Yosys' ``synth_xilinx``.
"""

from __future__ import annotations

import math
from typing import Any

from fabricfit.checks import whole_number
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.digits import as_integers
from fabricfit.hardware.estimates import Estimate, joined_notes
from fabricfit.hardware.families import Family, find_family
from fabricfit.hardware.product import WIDE_PRODUCT, Product, Work, check_product
from fabricfit.hardware.targets import DEFAULT_TARGET, Target, TargetLike, find_target

__all__ = [
    "DSP_PORTS",
    "constants_in_dsps",
    "count_multipliers",
    "dsps_per_multiplier",
    "latency_dsp",
    "multipliers",
    "product_dsp",
]

DSP_PORTS = {
    find_family(name).dsp_block: find_family(name).dsp_ports
    for name in ("7series", "ultrascale+", "versal")
}
"""Signed widths in bits of a block's two multiplier ports: 7 series, UltraScale(+), Versal."""

DEFAULT_INPUT_WIDTH = 16
"""Bits assumed for a layer's input where its number format is not known: hls4ml's default."""

_NARROWEST_OPERAND = 6
_NARROWEST_PRODUCT = 16
_FUSED = "narrow products are in DSPs where they are fused with their sum, seen in 5 of 5 layers"
_MEASURED_WEIGHTS = range(8, 17)
_SHARED_FROM = 512
"""From this reuse factor on, Latency was measured to share its multipliers."""


def multipliers(n_in: int, n_out: int, reuse_factor: int, parallelization_factor: int = 1) -> int:
    """Return the number of multipliers of a layer with the Resource strategy.

    ``ceil(n_in · n_out / RF)`` for each output position that is computed at once. With RF > 1 and
    weights of at least 8 bits this is the number of DSPs in every one of the 497 runs measured, and
    the initiation interval is RF cycles.

    Parameters
    ----------
    n_in, n_out
        Rows and columns of the layer's matrix product.
    reuse_factor
        Cycles over which one multiplier is shared, RF.
    parallelization_factor
        Output positions computed at once, for ``io_parallel`` convolutions.
    """
    rows, columns = whole_number("n_in", n_in), whole_number("n_out", n_out)
    reuse = whole_number("reuse_factor", reuse_factor)
    return -(-rows * columns // reuse) * whole_number(
        "parallelization_factor", parallelization_factor
    )


def dsps_per_multiplier(
    weight_width: int, input_width: int | None = None, target: TargetLike = DEFAULT_TARGET
) -> int:
    """Return the number of DSP blocks in one time-multiplexed multiplier.

    - None, where the product is built from LUTs: an operand of up to 5 bits, or operands whose
      widths add up to less than 16 (Vivado HLS) or 12 (Vitis HLS, one for each sum then). Measured with
      Vivado HLS: no DSP at 2×16, 4×16 and 6×6 bits, one at 6×16, 8×8, 8×16 and wider; with Vitis HLS one
      at 6×6 and 6×8. Between those the boundary is not measured; at 6×16 a layer can use one DSP fewer
      than this says.
    - One, where both operands fit the block's ports.
    - Else the number of port-sized pieces that the operands are cut into, all but the top one
      unsigned and so a bit shorter: two at 28×18, four at 32×32. An HLS compiler may need one fewer
      there.

    Parameters
    ----------
    weight_width, input_width
        Widths of the two operands in bits, signs included; 16 for an input that is not known.
    target
        What it is built for and with, or a name of :func:`fabricfit.hardware.families`, or of a DSP block. Of
        blocks that hold several narrow products one is counted, as one multiplier uses it.

    Raises
    ------
    InvalidInputError
        A width is below 1, or the family is not known.
    """
    given = DEFAULT_INPUT_WIDTH if input_width is None else input_width
    widths = (whole_number("weight_width", weight_width), whole_number("input_width", given))
    return math.ceil(_count_blocks(*widths, find_target(target)))


def product_dsp(product: Product, work: Work, target: TargetLike = DEFAULT_TARGET) -> Estimate:
    """Estimate the DSP blocks of a layer's matrix product.

    - Resource and ResourceUnrolled with RF > 1: one product for each multiplier, with Resource whether
      its weights are zero or not. In the repository's runs every row with weights of at least 8 bits is
      exact; with 6 bits a layer can use one fewer.
    - Latency, and Resource with RF = 1: one product for each distinct constant that the tool binds to a DSP,
      see :func:`constants_in_dsps`. In the repository's runs with RF = 1 every row is exact, or one or two
      too many.
    - Latency with RF > 1: hls4ml limits the multipliers to ``ceil(n_in · n_out / RF)``, less
      ``floor(zeros / RF)`` for the weights without one; constants share them. So it was in 57 of 57 layers
      with RF of 1, 2 and 100 whose products were bound to DSPs, and with RF of 512 and 1024, where it is
      that or one more. Vivado HLS was seen to heed the limit hardly at all with RF = 2.
    - Distributed arithmetic: none.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do.
    target
        What it is built for and with, or a name of :func:`fabricfit.hardware.families`.
    """
    check_product(product, work)
    chosen = find_target(target)
    family = find_family(chosen.family)
    widths = (product.weight_width, product.input_width)
    if chosen.laws.wide_product is not None and not product.time_multiplexed:
        widths = (max(widths[0], 8), max(widths[1], 8))  # which constants are bound is another law
    each = _count_blocks(*widths, chosen) * product.copies
    if product.by_adders or not each or chosen.binding == "fabric":
        return Estimate.exact(0)
    note = _note_unmeasured(product, family)
    if product.time_multiplexed:
        built = work.multipliers if product.strategy == "resource_unrolled" else product.multipliers
        value = math.ceil(built * each)
        if sum(widths) < _NARROWEST_PRODUCT and chosen.binding == "auto":
            fused = math.ceil(min(built, product.n_out) * each)
            return Estimate(fused, 0, value, joined_notes((note, _FUSED)))
        if chosen.laws.joined_pieces and each == 4 and product.weight_width >= 32:
            value = max(value - 2, 0)
        loose = product.weight_width < min(_MEASURED_WEIGHTS)
        return Estimate(value, _count_fewest_blocks(built, each, loose), value, note)
    constants = constants_in_dsps(product, work, chosen)
    if product.reuse_factor == 1:
        return _estimate_single_use(product, work, chosen, constants, each, note)
    return _estimate_shared(product, work, chosen, constants, each, note)


def constants_in_dsps(product: Product, work: Work, target: Target) -> int:
    """Return the distinct constants whose products a tool binds to DSPs, RF being 1.

    - Vivado HLS 2020.1: those of more than two signed digits and four bits, unless the widths of weights and
      inputs are too small for any, see :func:`dsps_per_multiplier`.
    - Vitis HLS: those of more than two digits whose bits and the input's add up to 20 or more. It is a guess
      that fits 21 of 24 layers of version 2024.1. Where only the number of constants is known, not which they
      are, they count as spread evenly over the numbers of their type.
    - Where all products are bound to DSPs: all of more than two digits; where they are bound to LUTs, none.
    """
    if target.binding != "auto":
        return work.hard if target.binding == "dsp" else 0
    if target.laws.wide_product is None:
        bound = dsps_per_multiplier(product.weight_width, product.input_width, target)
        return work.constants if bound else 0
    if work.wide >= 0:
        return min(work.wide, work.hard)
    least = WIDE_PRODUCT - product.input_width - 1
    top = max(product.weight_width - 1, 1)
    if least > top:
        return 0
    part = (2**top - 2 ** max(least - 1, 0)) / 2**top if least > _FEWEST_HARD_BITS else 1.0
    return round(work.hard * part)


_FEWEST_HARD_BITS = 4
"""Bits of the smallest constants of more than two signed digits, 11 and 13."""


def _estimate_single_use(
    product: Product, work: Work, target: Target, constants: int, each: float, note: str
) -> Estimate:
    """Estimate the blocks of constants that each have a multiplier."""
    value = math.ceil(constants * each)
    if target.binding == "dsp":
        return Estimate.exact(value, note)
    if target.laws.wide_product is None:
        return Estimate(value, _count_fewest_blocks(constants, each, value > 0), value, note)
    guess = f"which products {target.laws.name} binds to DSPs is a rule that fits 21 of 24 layers"
    margin = 1 + round(_BINDING_ERROR * work.hard * each)
    if work.wide < 0 and 0 < constants < work.hard:
        return Estimate(value, 0, math.ceil(work.hard * each), joined_notes((note, guess)))
    most = min(value + margin, math.ceil(work.hard * each))
    return Estimate(value, max(value - margin, 0), max(most, value), joined_notes((note, guess)))


_BINDING_ERROR = 0.05
"""Part of the hard constants of a layer by which the rule of bit widths was seen to be off."""


def _estimate_shared(
    product: Product, work: Work, target: Target, constants: int, each: float, note: str
) -> Estimate:
    """Estimate the blocks of multipliers that constants share."""
    most = work.hard if target.laws.wide_product is None else constants
    shared = min(most, count_multipliers(product, work))
    low, high = math.ceil(shared * each), math.ceil(min(shared + 1, most) * each)
    if product.reuse_factor >= _SHARED_FROM or target.binding == "dsp":
        return Estimate(low, low, high, note)
    if target.laws.wide_product is not None:
        known = "how multipliers are shared was seen where products are bound to DSPs"
        return Estimate(low, 0, math.ceil(most * each), joined_notes((note, known)))
    known = "it is not known how far Latency shares multipliers with a reuse factor below 512"
    value = max(math.ceil(constants * each), low)
    return Estimate(value, low, value, joined_notes((note, known)))


def count_multipliers(product: Product, work: Work) -> int:
    """Return the multipliers that Latency with RF > 1 shares: what hls4ml allows, less those without work."""
    zeros = (product.size - work.nonzeros) // product.reuse_factor
    return min(max(work.hard, 1), max(product.multipliers - zeros, 1))


def latency_dsp(kernel: Any) -> int:
    """Return the number of DSPs of a layer with the Latency strategy and a reuse factor of 1.

    Every input is multiplied by constants. A constant with up to two non-zero canonical signed
    digits is a shift or one addition, one that fits into four bits is so little that LUTs do it, and
    equal constants on one input are multiplied once; so it is the sum over inputs of the number of
    **distinct** other weights.

    Exact in 28 of 28 layers of public projects whose products are bound to DSPs (8×8, 16×16 and 6×16
    bits) and, on Vivado HLS 2020.1 with 16-bit inputs, in each of the 22 runs in the repository with
    weights of 8 to 14 bits.

    Parameters
    ----------
    kernel
        Quantized weights as signed integers (units of the last bit), shape ``(..., n_out)``; all
        axes but the last are inputs.

    Raises
    ------
    InvalidTypeError
        The kernel does not hold integers.
    """
    integers = as_integers(kernel)
    if integers.ndim < 1 or integers.size == 0:
        return 0
    n_out = integers.shape[-1]
    return Work.of(Product(integers.size // n_out, n_out, 64), integers).constants


def _count_blocks(weight_width: int, input_width: int, target: Target) -> float:
    """Return the DSP blocks of one product, a fraction where a block holds several."""
    widths = (weight_width, input_width)
    if min(widths) < 1:
        raise InvalidInputError(f"widths must be at least 1 bit. Received: {widths}")
    chosen = find_family(target.family)
    is_narrow = min(widths) < _NARROWEST_OPERAND or sum(widths) < target.laws.fused_product
    if target.binding == "fabric" or (is_narrow and target.binding == "auto"):
        return 0
    small, large = sorted(widths)
    for wide, narrow, count in chosen.products:
        if large <= wide and small <= narrow:
            return 1 / count
    wide, narrow = chosen.dsp_ports
    (a, b) = widths
    straight = _count_pieces(a, wide) * _count_pieces(b, narrow)
    crossed = _count_pieces(a, narrow) * _count_pieces(b, wide)
    return min(straight, crossed)


def _count_pieces(width: int, port: int) -> int:
    return 1 if width <= port else 1 + -(-(width - port) // (port - 1))


def _count_fewest_blocks(products: int, each: float, loose: bool) -> int:
    """Return the fewest blocks that were seen, or can be thought of."""
    if each > 1:
        return math.ceil(products * (each - 1))
    return math.ceil(max(products - loose, 0) * each)


def _note_unmeasured(product: Product, family: Family) -> str:
    """Say what of a layer lies outside the measurements of DSPs."""
    if family.name not in ("ultrascale+", "ultrascale", "7series"):
        return f"DSPs of {family.name} were not measured, they follow its handbook"
    if product.weight_width not in _MEASURED_WEIGHTS or not 8 <= product.input_width <= 16:
        return "DSPs were measured for weights and inputs of 8 to 16 bits"
    return ""
