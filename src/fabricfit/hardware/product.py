"""One layer's matrix product as hls4ml builds it, and what its weights leave it to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabricfit.checks import whole_number
from fabricfit.description.strategies import SHARED_MULTIPLIERS, canonical_strategy, check_io_type
from fabricfit.errors import InvalidInputError, InvalidTypeError

__all__ = ["WIDE_PRODUCT", "Product", "Work", "as_integers", "csd_digits"]

_FREE_DIGITS = 2
"""A constant of up to this number of signed digits is a shift or one addition, and needs no multiplier."""

_FREE_BITS = 4
"""A constant of up to this bit width, the sign of a negative one included, is multiplied in LUTs: seen in
Vivado HLS, where +11 and +13 use no DSP, and -11, -13 and 19 do."""


WIDE_PRODUCT = 20
"""Bits of a hard constant and its input, added up, from which Vitis HLS binds their product to a DSP: the
threshold of 14 to 24 that fits the most of 24 layers, 21, sharply."""


_MAY_BE_ZERO = ("pixels", "channels", "kernel_rows")


@dataclass(frozen=True)
class Product:
    """The matrix product of one layer in hardware.

    Parameters
    ----------
    n_in, n_out
        Rows and columns: inputs (kernel positions × channels) and units.
    weight_width
        Bits of a weight.
    input_width, output_width, accumulator_width
        Bits of an input, of a result and of the running sum; 16 is hls4ml's default.
    strategy
        The strategy that is really built, see :func:`fabricfit.hls4ml.effective_strategy`.
    reuse_factor
        The reuse factor that is really used, see :func:`fabricfit.hls4ml.legal_reuse_factor`.
    io_type
        ``'io_parallel'`` or ``'io_stream'``.
    copies
        Output positions that are computed at once: the parallelization factor.
    positions
        Output positions of the layer for one sample; 1 for a dense layer.
    convolution
        Whether it is a convolution to hls4ml, as a dense layer on several axes is.
    packed_input
        Whether the inputs arrive as one wide word, as those of an ``io_parallel`` model do; a layer
        behind another one finds them in registers.
    pixels
        Pixels of a convolution's input for one sample, its padding included, which it goes over one by one
        in a stream; 0 where they are not known.
    channels, kernel_rows
        Channels of that input and rows of the kernel: it has a line buffer for each channel and each row but
        one. 0 where they do not matter.

    Raises
    ------
    InvalidInputError
        A number is below 1, or a name is not known.
    """

    n_in: int
    n_out: int
    weight_width: int
    input_width: int = 16
    output_width: int = 16
    accumulator_width: int = 16
    strategy: str = "latency"
    reuse_factor: int = 1
    io_type: str = "io_parallel"
    copies: int = 1
    positions: int = 1
    convolution: bool = False
    packed_input: bool = True
    pixels: int = 0
    channels: int = 0
    kernel_rows: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and not isinstance(value, bool):
                whole_number(name, value, least=0 if name in _MAY_BE_ZERO else 1)
        check_io_type(self.io_type)
        object.__setattr__(self, "strategy", canonical_strategy(self.strategy))

    @property
    def is_windowed(self) -> bool:
        """Whether it is a convolution in a stream, which holds the pixels of its window in registers."""
        return self.convolution and self.io_type == "io_stream"

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.n_in * self.n_out

    @property
    def time_multiplexed(self) -> bool:
        """Whether a multiplier serves RF weights in turn, out of a memory."""
        return self.strategy in SHARED_MULTIPLIERS and self.reuse_factor > 1

    @property
    def by_constants(self) -> bool:
        """Whether every weight is a constant in the logic, with multipliers where they pay.

        So it is with Latency, and with Resource at a reuse factor of 1.
        """
        return not self.time_multiplexed and not self.by_adders

    @property
    def by_adders(self) -> bool:
        """Whether the products are a graph of adders (distributed arithmetic), without DSPs."""
        return self.strategy == "distributed_arithmetic"

    @property
    def multipliers(self) -> int:
        """Time-multiplexed multipliers of one output position, ``ceil(n_in · n_out / RF)``."""
        return -(-self.size // self.reuse_factor)


@dataclass(frozen=True)
class Work:
    """What weights leave a product to do.

    Parameters
    ----------
    multipliers
        Runs of RF consecutive weights, output by output, that are not all zero: the multipliers
        that have work.
    nonzeros
        Weights that are not zero.
    constants
        Summed over the inputs: distinct weights with more than two signed digits and more than four
        bits. Each needs a multiplier where weights are constants.
    adders
        Summed over the inputs: distinct weights of two signed digits, an addition each.
    digits
        Summed over all weights: non-zero digits in canonical signed digit form.
    small
        Summed over the inputs: distinct weights with more than two signed digits and up to four bits
        (11 and 13). They need two additions each, or a multiplier where multipliers are shared.
    """

    multipliers: int
    nonzeros: int
    constants: int
    adders: int
    digits: int
    small: int = 0
    wide: int = field(default=-1, compare=False)
    hard_digits: int = field(default=-1, compare=False)
    longest: int = field(default=-1, compare=False)
    span: int = field(default=-1, compare=False)

    @property
    def hard(self) -> int:
        """Distinct weights of more than two signed digits, summed over the inputs."""
        return self.constants + self.small

    @classmethod
    def of(cls, product: Product, kernel: Any) -> Work:
        """Count it in quantized weights.

        Parameters
        ----------
        product
            The product; its reuse factor cuts the runs.
        kernel
            Signed integers in units of the weights' last bit, shape ``(..., n_out)`` with
            ``n_in · n_out`` members.

        Raises
        ------
        InvalidTypeError
            The kernel does not hold integers.
        InvalidInputError
            Its shape does not fit the product.
        """
        matrix = as_integers(kernel)
        if matrix.size != product.size or matrix.shape[-1:] != (product.n_out,):
            raise InvalidInputError(
                f"the kernel must have {product.n_in} x {product.n_out} weights, outputs last. "
                f"Received: shape {matrix.shape}"
            )
        matrix = matrix.reshape(-1, product.n_out)
        runs = np.add.reduceat(
            (matrix.T.reshape(-1) != 0).astype(np.int64),
            np.arange(0, product.size, product.reuse_factor),
        )
        rows = np.sort(np.abs(matrix) * 2 + (matrix < 0), axis=1)
        first = np.ones(rows.shape, bool)
        first[:, 1:] = rows[:, 1:] != rows[:, :-1]
        sizes = rows >> 1
        digits = csd_digits(sizes)
        wide = (sizes - (rows & 1)) >> (_FREE_BITS - (rows & 1)) > 0
        hard = first & (digits > _FREE_DIGITS)
        any_bit = int(np.bitwise_or.reduce(sizes, axis=None)) if sizes.size else 0
        bits = np.frexp(sizes.astype(np.float64))[1] + 1
        return cls(
            multipliers=int(np.count_nonzero(runs)),
            nonzeros=int(np.count_nonzero(matrix)),
            constants=int(np.count_nonzero(hard & wide)),
            adders=int(np.count_nonzero(first & (digits == _FREE_DIGITS))),
            digits=int(digits.sum()),
            small=int(np.count_nonzero(hard & ~wide)),
            wide=int(np.count_nonzero(hard & (bits + product.input_width >= WIDE_PRODUCT))),
            hard_digits=int(digits[hard].sum()),
            longest=int(np.count_nonzero(matrix, axis=0).max(initial=0)),
            span=any_bit.bit_length() - ((any_bit & -any_bit).bit_length() - 1) if any_bit else 0,
        )

    @classmethod
    def full(cls, product: Product) -> Work:
        """Return the work of a kernel of which nothing is known: the most that constants can need.

        All weights are non-zero, and on every input as many are distinct as can be.
        """
        values = np.arange(1, 2 ** min(product.weight_width - 1, 20))
        digits = csd_digits(values)
        hard = 2 * int(np.count_nonzero(digits > _FREE_DIGITS))
        easy = 2 * int(np.count_nonzero(digits == _FREE_DIGITS))
        constants = min(hard, product.n_out)
        least = max(WIDE_PRODUCT - product.input_width - 1, 0)
        wide = min(
            2 * int(np.count_nonzero((digits > _FREE_DIGITS) & (values >= 2 ** max(least - 1, 0)))),
            constants,
        )
        mean = float(digits.mean()) if digits.size else 1.0
        return cls(
            multipliers=product.multipliers,
            nonzeros=product.size,
            constants=product.n_in * constants,
            adders=product.n_in * min(easy, product.n_out - constants),
            digits=round(product.size * mean),
            wide=product.n_in * wide,
            longest=product.n_in,
        )


def csd_digits(values: Any) -> np.ndarray:
    """Return the number of non-zero digits of integers in canonical signed digit form.

    It is the number of ones in ``x XOR 3x`` (Reitwiesner, 1960): 1 for ±2^k, 2 for ±2^j ± 2^k.

    Parameters
    ----------
    values
        Integers of any shape, each below 2^61 in size.

    Returns
    -------
    array of int, in the shape of ``values``

    Raises
    ------
    InvalidTypeError
        The values are not integers.
    """
    sizes = np.abs(as_integers(values).astype(np.int64))
    differing = sizes ^ (3 * sizes)
    digits = np.zeros(differing.shape, np.int64)
    while differing.any():
        digits += differing & 1
        differing = differing >> 1
    return digits


def as_integers(values: Any) -> np.ndarray:
    """Return quantized weights as int64.

    Raises
    ------
    InvalidTypeError
        They are not integers.
    """
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidTypeError(
            "quantized weights must be integers, in units of their last bit. "
            f"Received: an array of {array.dtype}"
        )
    return array.astype(np.int64)
