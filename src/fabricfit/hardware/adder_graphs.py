"""Layers without DSPs: the graph of adders that their constants make, and the bits that they multiply.

Two measures of a matrix of constants. The cost of its **adder graph**, in which equal parts of sums are
built once, follows the LUTs of logic synthesis linearly (Sun et al., "da4ml: Distributed Arithmetic for
Real-time Neural Networks on FPGAs", 2025, arXiv:2507.04535); it is found by the optional ``alkaid``. The
**effective bit operations** (Sun et al., "Gradient-based Automatic Mixed Precision Quantization for Neural
Networks On-Chip", 2024, arXiv:2405.00645) count the bits of constants times those of inputs, and need
nothing but the weights.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError, require
from fabricfit.hardware.product import as_integers

__all__ = ["adder_graph_lut", "bit_operations", "enclosed_bits"]


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
        times that.

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
