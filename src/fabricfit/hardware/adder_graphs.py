"""Layers without DSPs: the graph of adders that their constants make, and the bits that they multiply.

Two measures of a matrix of constants. The cost of its **adder graph**, in which equal parts of sums are
built once, follows the LUTs of logic synthesis linearly (Sun et al., "da4ml: Distributed Arithmetic for
Real-time Neural Networks on FPGAs", 2025, arXiv:2507.04535); it is found by the optional ``alkaid``. What
that needs grows as the square of the digits, seconds for some thousands and hours for a dense layer of some
ten thousand weights: graphs of more than :data:`MOST_DIGITS` are estimated by a law of their digits. The
**effective bit operations** (Sun et al., "Gradient-based Automatic Mixed Precision Quantization for Neural
Networks On-Chip", 2024, arXiv:2405.00645) count the bits of constants times those of inputs, and need
nothing but the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, require
from fabricfit.hardware.digits import as_integers, csd_digits

__all__ = [
    "GRAPH_BAND",
    "MOST_DIGITS",
    "adder_graph_lut",
    "bit_operations",
    "enclosed_bits",
    "law_of_digits",
    "remark_on_digits",
]

MOST_DIGITS = 2_000
"""Signed digits of a matrix of constants up to which its graph is traced: half a second or so there."""

GRAPH_BAND = (0.75, 1.30)
"""Error bar of :func:`law_of_digits`, of itself. The graphs of 19 matrices of 2,000 to 20,000 digits (3 to
100 % of the weights, 4 to 16 bits) were 0.77 to 1.05 of it, the less the more and the narrower weights."""

_ADDER_EXTRA = 2.5
"""Bits of an adder of a graph beyond those of an input, in the mean."""

_SHARING = (0.80, -0.27)
"""Part of the adders that is left where equal sums are built once: of a sparse matrix, and how much it falls
until all weights are non-zero. Of the graphs of 144 random matrices (16 to 64 inputs, 5 to 64 outputs,
weights of 3 to 8 bits, inputs of 4 to 16) half are within 6 %, and nine of ten within 19 %."""

_FEW_OUTPUTS, _LESS_SHARED = 8, 0.08


def law_of_digits(
    digits: float, nonzeros: float, shape: tuple[int, int], input_width: float
) -> float:
    """Return the cost of the graph of a matrix, as its weights' digits and their density tell.

    Each signed digit but the first of an output is an adder, a little wider than an input, and adders of
    equal sums are shared, the more so the denser the matrix is. Of networks with narrow weights and inputs
    of 3 to 4 bits it is about 1.09 for each digit and bit of the input.

    Parameters
    ----------
    digits
        Signed digits of all weights.
    nonzeros
        Weights that are not zero.
    shape
        Inputs and outputs.
    input_width
        Bits of an input, its sign included.
    """
    sparse, fall = _SHARING
    shared = sparse + fall * nonzeros / (shape[0] * shape[1])
    if shape[1] < _FEW_OUTPUTS:
        shared += _LESS_SHARED
    adders = max(digits - min(shape[1], nonzeros), 0) * shared
    return float(adders * (input_width + _ADDER_EXTRA))


def remark_on_digits(digits: Mapping[str, int]) -> tuple[str, ...]:
    """Return what a report says of layers whose graphs are estimated.

    Parameters
    ----------
    digits
        Layer -> signed digits of its weights.
    """
    large = [f"{name!r} ({n:,})" for name, n in digits.items() if n > MOST_DIGITS]
    low, high = GRAPH_BAND
    return (
        (
            f"graphs of adders of more than {MOST_DIGITS:,} signed digits are estimated by their digits, "
            f"{low:.2f} to {high:.2f} of the estimate: {', '.join(large)}.",
        )
        if large
        else ()
    )


def adder_graph_lut(kernel: Any, input_width: int) -> float:
    """Return the LUTs of a matrix of constants as its adder graph counts them, for one position.

    Parameters
    ----------
    kernel
        Quantized weights as signed integers in units of the last bit, shape ``(..., n_out)``.
    input_width
        Bits of an input, its sign included.

    Returns
    -------
    float
        The graph's cost: about a LUT for each bit of each adder. Yosys was seen to use 1.09 to 1.14
        times that. Of more than :data:`MOST_DIGITS` it is the estimate of :func:`law_of_digits`.

    Raises
    ------
    MissingExtraError
        ``alkaid`` is not installed.
    InvalidTypeError
        The kernel does not hold integers.
    InvalidInputError
        The width is below 1.
    """
    if input_width < 1:
        raise InvalidInputError(
            f"input_width must be at least 1 bit. Received: input_width={input_width}"
        )
    integers = as_integers(kernel)
    matrix = integers.reshape(-1, integers.shape[-1])
    digits = int(csd_digits(matrix).sum())
    if digits > MOST_DIGITS:
        return law_of_digits(digits, int(np.count_nonzero(matrix)), matrix.shape, input_width)
    return _graph_cost(matrix.tobytes(), matrix.shape, input_width)


@lru_cache(maxsize=512)
def _graph_cost(data: bytes, shape: tuple[int, int], input_width: int) -> float:
    """Trace the graph; the kernel comes as bytes so that the same one is traced once."""
    trace = require("alkaid.trace", "adders", "An adder graph")
    matrix = np.frombuffer(data, np.int64).reshape(shape)
    if not matrix.any():
        return 0.0
    signed, fractional = np.ones(shape[0], int), np.zeros(shape[0], int)
    inputs = trace.FVArray.from_kif(signed, np.full(shape[0], input_width - 1), fractional)
    return float(trace.trace(inputs, inputs @ matrix.astype(np.float64)).cost)


def enclosed_bits(values: Any) -> np.ndarray:
    """Return the bits of integers from the first that is set to the last, the sign left out.

    0 for 0, 1 for ±2^k, 3 for 5 and for 40.

    Parameters
    ----------
    values
        Integers of any shape, each below 2^52 in size.

    Raises
    ------
    InvalidTypeError
        The values are not integers.
    """
    sizes = np.abs(as_integers(values))
    odd = sizes // np.maximum(sizes & -sizes, 1)
    return np.where(sizes > 0, np.frexp(odd.astype(np.float64))[1], 0)


def bit_operations(kernel: Any, input_width: int) -> int:
    """Return the effective bit operations of a matrix of constants, for one position.

    Parameters
    ----------
    kernel
        Quantized weights as signed integers in units of the last bit.
    input_width
        Bits of an input.

    Returns
    -------
    int
        The sum over the weights of :func:`enclosed_bits`, times the input's bits.
    """
    return int(enclosed_bits(kernel).sum()) * input_width
