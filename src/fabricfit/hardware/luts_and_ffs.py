"""LUTs and flip-flops of a layer's matrix product, as HLS reports them.

The laws count what hls4ml's templates make the compiler build: :mod:`fabricfit.hardware.time_multiplexed`
where a multiplier serves several weights in turn, :mod:`fabricfit.hardware.constants` where weights are
constants. Their numbers are those of a tool, see :mod:`fabricfit.hardware.tools`;
:mod:`fabricfit.hardware.calibration` makes the error bars.
"""

from __future__ import annotations

from dataclasses import replace

from fabricfit.hardware.calibration import bounded
from fabricfit.hardware.constants import constants_ff, constants_lut, fits_one_cycle
from fabricfit.hardware.estimates import Estimate
from fabricfit.hardware.product import Product, Work, check_product
from fabricfit.hardware.targets import DEFAULT_TARGET, TargetLike, find_target
from fabricfit.hardware.time_multiplexed import (
    count_adder_lut,
    multiplexed_ff,
    multiplexed_lut,
)
from fabricfit.hardware.windows import window_ff, window_lut

__all__ = ["product_ff", "product_lut"]

_PARTITIONED = "an input that is in separate registers"


def product_lut(product: Product, work: Work, target: TargetLike = DEFAULT_TARGET) -> Estimate:
    """Estimate the LUTs of a layer's matrix product.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do. Plain Resource with RF > 1 does not heed it.
    target
        What it is built for and with.

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
    check_product(product, work)
    chosen = find_target(target)
    around = window_lut(product, chosen)
    if not product.time_multiplexed:
        value = constants_lut(product, work, chosen) + around
        return bounded(value, product, "lut", chosen)
    unrolled = product.strategy == "resource_unrolled"
    packed = product.packed_input and product.io_type == "io_parallel" and not product.convolution
    picks = not unrolled and product.reuse_factor >= product.n_in
    unusual = _PARTITIONED if picks and not packed and not product.is_windowed else ""
    value = multiplexed_lut(product, work, chosen, packed) * product.copies + around
    estimate = bounded(value, product, "lut", chosen, unusual)
    if not unrolled:
        return estimate
    unshared = max(work.nonzeros - work.multipliers, 0) * count_adder_lut(product) * product.copies
    return replace(estimate, high=max(estimate.high, value + unshared))


def product_ff(product: Product, work: Work, target: TargetLike = DEFAULT_TARGET) -> Estimate:
    """Estimate the flip-flops of a layer's matrix product.

    Parameters
    ----------
    product
        The product as hls4ml builds it.
    work
        What its weights leave it to do. Plain Resource with RF > 1 does not heed it.
    target
        What it is built for and with.

    Notes
    -----
    Where weights are constants, the flip-flops are those of pipeline registers that HLS places by
    its timing model. Sums of up to 16 inputs without products may have none; such a layer gets the
    value without, and an upper end with them.
    """
    check_product(product, work)
    chosen = find_target(target)
    less = more = 0.0
    if product.by_adders:
        registers = float(product.n_in * product.input_width + product.n_out * product.output_width)
    elif product.time_multiplexed:
        registers = multiplexed_ff(product, work, chosen)
    else:
        registers, less, more = constants_ff(product, work, chosen)
    value = registers * product.copies + window_ff(product, chosen)
    estimate = bounded(value, product, "ff", chosen)
    if product.by_constants:
        low, high = (n * product.copies for n in (less, more))
        estimate = replace(estimate, low=min(estimate.low, low), high=max(estimate.high, high))
    if not fits_one_cycle(product, work, chosen):
        return estimate
    uncut = product.copies * product.n_in * product.input_width
    least = bounded(uncut, product, "ff", chosen)
    return replace(least, high=max(least.high, estimate.high))
