"""Small dense layers as Verilog, for a synthesis tool that counts the resources they use.

The modules are an independent check of :mod:`fabricfit.hardware`: they describe a layer by plain
multiplications and additions, in the order and with the sharing of hls4ml, and the tool decides which of
them are built from DSP blocks and which from LUTs. They do not replace hls4ml: products are not pipelined
inside, and numbers are plain integers.

All numbers are signed. ``x`` is a word of all inputs and ``y`` one of all outputs, the first in the
lowest bits; sums wrap to the width of the accumulator, as ``ap_fixed`` does by default.

Weights as constants (Latency; Resource with a reuse factor of 1)
    ports ``clk``, ``x``, ``y``; a result follows its input by two cycles, and there can be a new input
    in every cycle. Each distinct non-zero weight of an input is one multiplication, which equal ones
    share.
Time-multiplexed (Resource and ResourceUnrolled with a larger reuse factor)
    ports ``clk``, ``start``, ``x``, ``y``, ``done``. In the cycle of ``start`` the inputs are read;
    ``RF`` cycles of computation follow, and then ``done`` is high and ``y`` the result until the next
    start. The weights are in a separate module, a memory that is read in each cycle, as HLS makes one: so
    the tool does not see which are zero, and plain Resource keeps the multipliers of zeros.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from fabricfit.checks import whole_number
from fabricfit.description.strategies import canonical_strategy
from fabricfit.errors import InvalidInputError, InvalidTypeError, spell
from fabricfit.hls4ml.reuse_factor import legal_reuse_factor
from fabricfit.synthesis._dense_modules import DenseLayer, of_constants, time_multiplexed

__all__ = ["dense_verilog"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_MAX_BITS = 256
"""Largest bit width of a number."""


def dense_verilog(
    kernel: Any,
    *,
    weight_width: int,
    input_width: int,
    accumulator_width: int,
    reuse_factor: int = 1,
    strategy: str = "latency",
    bias: Any = None,
    name: str = "dense",
) -> str:
    """Write a dense layer with given weights as a Verilog module.

    Parameters
    ----------
    kernel
        Quantized weights as signed integers, in units of their last bit, shape ``(n_in, n_out)``.
    weight_width, input_width, accumulator_width
        Bit widths of a weight, of an input and of a sum, signs included.
    reuse_factor
        Cycles over which a multiplier is shared, one that hls4ml can build with the strategy.
    strategy
        ``'latency'``, ``'resource'`` or ``'resource_unrolled'``, as hls4ml or fabricfit spells it.
        ``'resource_unrolled'`` leaves out the multipliers whose weights are all zero.
    bias
        Signed integers in units of the products' last bit, shape ``(n_out,)``; none by default.
    name
        Name of the module. The memory of the weights is a module ``<name>_weights``.

    Returns
    -------
    str
        The text of one module, or of two.

    Raises
    ------
    InvalidInputError
        A shape, width, weight, reuse factor, strategy or name that cannot be built.
    InvalidTypeError
        Weights, biases or widths that are not integers.

    Examples
    --------
    >>> print(dense_verilog([[3], [0]], weight_width=4, input_width=8, accumulator_width=12))
    module dense (
        input wire clk,
        input wire [15:0] x,
        output reg [11:0] y
    );
        reg signed [7:0] x0, x1;
        always @(posedge clk) {x1, x0} <= x;
        wire signed [11:0] p0_0 = x0 * 5'sd3;
        wire signed [11:0] s0 = p0_0;
        always @(posedge clk) y <= {s0};
    endmodule
    <BLANKLINE>
    """
    for argument, width in (
        ("weight_width", weight_width),
        ("input_width", input_width),
        ("accumulator_width", accumulator_width),
    ):
        whole_number(argument, width, most=_MAX_BITS)
    reuse_factor = whole_number("reuse_factor", reuse_factor)
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise InvalidInputError(
            f"name must be letters, digits and underscores, no digit first. Received: name={spell(name)}"
        )
    matrix = _require_width("kernel", kernel, int(weight_width))
    if matrix.ndim != 2 or not matrix.size:
        raise InvalidInputError(
            f"kernel must have the shape (n_in, n_out). Received: shape {matrix.shape}"
        )
    n_in, n_out = matrix.shape
    offsets = np.zeros(n_out, np.int64)
    if bias is not None:
        offsets = _require_width("bias", bias, int(accumulator_width))
    if offsets.shape != (n_out,):
        raise InvalidInputError(
            f"bias must have the shape ({n_out},), one for each output. "
            f"Received: shape {offsets.shape}"
        )
    layer = DenseLayer(
        kernel=matrix,
        bias=offsets.tolist(),
        weight_width=int(weight_width),
        input_width=int(input_width),
        sum_width=int(accumulator_width),
        reuse_factor=reuse_factor,
        unrolled=_check_strategy(strategy, n_in, n_out, reuse_factor) == "resource_unrolled",
        name=name,
    )
    return of_constants(layer) if reuse_factor == 1 else time_multiplexed(layer)


def _require_width(name: str, values: Any, width: int) -> np.ndarray:
    """Return an array of integers that fit into ``width`` bits."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidTypeError(
            f"{name} must hold integers, in units of the last bit. "
            f"Received: an array of {array.dtype}"
        )
    limit = 1 << (width - 1)
    unfit = [int(value) for value in array.ravel() if not -limit <= int(value) < limit]
    if unfit:
        raise InvalidInputError(
            f"{name} must fit into {width} bits, from {-limit} to {limit - 1}. "
            f"Received: {unfit[0]}" + (f" and {len(unfit) - 1} more" if unfit[1:] else "")
        )
    return array


def _check_strategy(strategy: str, n_in: int, n_out: int, reuse_factor: int) -> str:
    """Return the strategy, where hls4ml can build the layer with this reuse factor."""
    chosen = canonical_strategy(strategy)
    if chosen not in ("latency", "resource", "resource_unrolled"):
        raise InvalidInputError(
            "strategy must be 'latency', 'resource' or 'resource_unrolled': there are no "
            f"multiplications to write in others. Received: strategy={spell(strategy)}"
        )
    if chosen == "latency" and reuse_factor != 1:
        raise InvalidInputError(
            "reuse_factor must be 1 with strategy='latency', where an HLS compiler chooses which "
            f"multipliers are shared. Received: reuse_factor={reuse_factor}"
        )
    legal = legal_reuse_factor(n_in, n_out, reuse_factor, chosen)
    if legal != reuse_factor:
        raise InvalidInputError(
            f"reuse_factor must be one that hls4ml can build: {legal} is the nearest for a "
            f"{n_in} x {n_out} kernel. Received: reuse_factor={reuse_factor}"
        )
    return chosen
