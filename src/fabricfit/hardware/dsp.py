"""How many DSP blocks the products of a layer take.

The laws were established on 987 runs of Vivado HLS 2020.1 (one dense layer, 16-bit inputs,
UltraScale+) and on reports of public hls4ml projects built with Vitis HLS 2021.1 and 2024.1.
Splitting of wide products follows the port widths of the DSP blocks (Xilinx UG479 and UG579) and
was seen in Yosys' ``synth_xilinx``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, unknown_name
from fabricfit.hardware.product import Product, Work

__all__ = ["DSP_PORTS", "dsps_per_multiplier", "latency_dsp", "multipliers"]

DSP_PORTS = {"DSP48E1": (25, 18), "DSP48E2": (27, 18)}
"""Signed widths in bits of a block's two multiplier ports: 7 series, and UltraScale(+)."""

DEFAULT_INPUT_WIDTH = 16
"""Bits taken for a layer's input where its number format is not known: hls4ml's default."""

_NARROWEST_OPERAND = 6
_NARROWEST_PRODUCT = 16


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
    return -(-n_in * n_out // reuse_factor) * parallelization_factor


def dsps_per_multiplier(
    weight_width: int, input_width: int | None = None, family: str = "DSP48E2"
) -> int:
    """Return the number of DSP blocks in one time-multiplexed multiplier.

    - None, where the product is built from LUTs: an operand of up to 5 bits, or operands whose
      widths add up to less than 16. Measured: no DSP at 2×16, 4×16 and 6×6 bits, one at 6×16, 8×8,
      8×16 and wider. Between those the boundary is not measured; at 6×16 a layer can take one DSP
      fewer than this says.
    - One, where both operands fit the block's ports.
    - Else the number of port-sized pieces that the operands are cut into, all but the top one
      unsigned and so a bit shorter: two at 28×18, four at 32×32. An HLS compiler may need one fewer
      there.

    Parameters
    ----------
    weight_width, input_width
        Widths of the two operands in bits, signs included; 16 for an input that is not known.
    family
        The kind of DSP block, a key of :data:`DSP_PORTS`.

    Raises
    ------
    InvalidInputError
        A width is below 1, or the family is not known.
    """
    widths = (weight_width, DEFAULT_INPUT_WIDTH if input_width is None else input_width)
    if min(widths) < 1:
        raise InvalidInputError(f"widths must be at least 1 bit. Received: {widths}")
    if family not in DSP_PORTS:
        raise unknown_name("family", family, DSP_PORTS)
    if min(widths) < _NARROWEST_OPERAND or sum(widths) < _NARROWEST_PRODUCT:
        return 0
    wide, narrow = DSP_PORTS[family]
    (a, b) = widths
    return min(_pieces(a, wide) * _pieces(b, narrow), _pieces(a, narrow) * _pieces(b, wide))


def latency_dsp(kernel: Any) -> int:
    """Return the number of DSPs of a layer with the Latency strategy and a reuse factor of 1.

    Every input is multiplied by constants. A constant with up to two non-zero canonical signed
    digits is a shift or one addition, and equal constants on one input are multiplied once; so it
    is the sum over inputs of the number of **distinct** weights with more than two such digits.

    Exact in 28 of 28 layers measured whose products are bound to DSPs (8×8, 16×16 and 6×16 bits).
    On Vivado HLS 2020.1 with 16-bit inputs it is high by up to 0.2% with weights of 12–14 bits, up
    to 2% with 10 bits and 7–23% with 8 bits, where some products go to LUTs; with 6 bits and fewer
    all do.

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
    integers = np.asarray(kernel)
    if integers.ndim < 1 or integers.size == 0:
        return 0
    n_out = integers.shape[-1]
    return Work.of(Product(integers.size // n_out, n_out, 64), integers).constants


def _pieces(width: int, port: int) -> int:
    return 1 if width <= port else 1 + -(-(width - port) // (port - 1))
