"""One layer's matrix product as hls4ml builds it, and what its weights leave it to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabricfit.checks import flag, instance, whole_number
from fabricfit.description.strategies import SHARED_MULTIPLIERS, canonical_strategy, check_io_type
from fabricfit.errors import InvalidInputError
from fabricfit.hardware.digits import as_integers, csd_digits

__all__ = [
    "WIDE_PRODUCT",
    "CountedKernel",
    "Product",
    "Work",
    "check_product",
    "csd_digits",
]

_FREE_DIGITS = 2
"""A constant of up to this number of signed digits is a shift or one addition, and needs no multiplier."""

_FREE_BITS = 4
"""A constant of up to this bit width, the sign of a negative one included, is multiplied in LUTs: seen in
Vivado HLS, where +11 and +13 use no DSP, and -11, -13 and 19 do."""


WIDE_PRODUCT = 20
"""Bits of a hard constant and its input, added up, from which Vitis HLS binds their product to a DSP: the
threshold of 14 to 24 that fits the most of 24 layers, 21, sharply."""


_MAY_BE_ZERO = ("pixels", "channels", "kernel_rows")
_LARGEST = 2**63
_FLAGS, _NAMES = ("convolution", "packed_input"), ("strategy", "io_type")


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
            if name in _FLAGS:
                flag(name, value)
            elif name not in _NAMES and not (type(value) is int and 0 < value < _LARGEST):
                set_ = object.__setattr__
                set_(self, name, whole_number(name, value, 0 if name in _MAY_BE_ZERO else 1))
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


_COUNTED = ("multipliers", "nonzeros", "constants", "adders", "digits", "small")
"""What is known of any work; of the rest -1 says that it is not."""


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

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not int or not 0 <= value < _LARGEST:
                least = 0 if name in _COUNTED else -1
                object.__setattr__(self, name, whole_number(name, value, least))

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
        return CountedKernel.of(kernel).count(product)[0]

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


@dataclass(frozen=True, eq=False)
class CountedKernel:
    """Quantized weights whose signed digits are counted once, for any product and pruning of them.

    Parameters
    ----------
    matrix
        The weights in units of their last bit, shape ``(rows, n_out)``.
    digits
        Their non-zero digits in canonical signed digit form, of that shape.
    order
        Places of the weights, those of an input sorted.
    starts
        Where another weight of an input begins in that order.
    """

    matrix: np.ndarray
    digits: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, kernel: Any) -> CountedKernel:
        """Sort a kernel as :meth:`Work.of` takes it, and count its digits.

        Raises
        ------
        InvalidTypeError
            The kernel does not hold integers.
        """
        integers = as_integers(kernel)
        matrix = integers.reshape(-1, integers.shape[-1]) if integers.ndim else integers[None, None]
        within = np.argsort(matrix, axis=1, kind="stable")
        rows = np.take_along_axis(matrix, within, axis=1)
        first = np.ones(rows.shape, bool)
        first[:, 1:] = rows[:, 1:] != rows[:, :-1]
        order = within + matrix.shape[1] * np.arange(len(matrix))[:, None]
        return cls(matrix, csd_digits(matrix), order.reshape(-1), np.flatnonzero(first))

    def count(
        self, product: Product, ranks: np.ndarray | None = None, counts: Sequence[int] = (1,)
    ) -> list[Work]:
        """Return the work that the weights leave, with all of them or with those of small ranks.

        Parameters
        ----------
        product
            The product; its reuse factor cuts the runs.
        ranks
            For each weight a whole number, in the shape of the matrix; 0 where they are not given.
        counts
            For each of these numbers the weights whose rank is smaller are kept, the others are zero.

        Raises
        ------
        InvalidInputError
            The kernel's shape does not fit the product.
        """
        matrix, n_out = self.matrix, self.matrix.shape[1]
        if matrix.size != product.size or n_out != product.n_out:
            raise InvalidInputError(
                f"the kernel must have {product.n_in} x {product.n_out} weights, outputs last. "
                f"Received: shape {matrix.shape}"
            )
        order, asked = np.unique(counts, return_inverse=True)
        # From which of the ascending counts on a weight is there: none of them where it is zero.
        steps = np.zeros(matrix.shape, np.int64)
        if ranks is not None:
            steps = np.searchsorted(order, ranks, "right")
        steps = np.where(matrix != 0, steps, len(order))
        each, in_order = steps.reshape(-1), steps.reshape(-1)[self.order]
        runs = np.arange(0, product.size, product.reuse_factor)
        run = np.minimum.reduceat(steps.T.reshape(-1), runs)
        distinct = np.minimum.reduceat(in_order, self.starts)
        value = matrix.reshape(-1)[self.order[self.starts]]
        digits = self.digits.reshape(-1)[self.order[self.starts]]
        sizes, hard = np.abs(value), digits > _FREE_DIGITS
        wide = hard & ((sizes - (value < 0)) >> (_FREE_BITS - (value < 0)) > 0)
        in_dsp = hard & (np.frexp(sizes.astype(float))[1] + 1 + product.input_width >= WIDE_PRODUCT)
        columns = np.arange(n_out) * (len(order) + 1)
        of_column = np.bincount((steps + columns).reshape(-1), minlength=n_out * (len(order) + 1))
        any_bit = np.zeros(len(order) + 1, np.int64)
        np.bitwise_or.at(any_bit, distinct, sizes)

        def add(found: np.ndarray, amounts: np.ndarray | None = None) -> np.ndarray:
            """Add what is there at each of the counts."""
            return np.cumsum(np.bincount(found, amounts, minlength=len(order) + 1))[:-1]

        rows = zip(
            add(run),
            add(each),
            add(distinct[wide]),
            add(distinct[digits == _FREE_DIGITS]),
            add(each, self.digits.reshape(-1)),
            add(distinct[hard & ~wide]),
            add(distinct[in_dsp]),
            add(distinct[hard], digits[hard]),
            np.cumsum(of_column.reshape(n_out, -1), axis=1).max(axis=0)[:-1],
            (_find_span(int(bits)) for bits in np.bitwise_or.accumulate(any_bit)[:-1]),
            strict=True,
        )
        works = [Work(*map(int, numbers)) for numbers in rows]
        return [works[place] for place in asked.reshape(-1)]


def _find_span(bits: int) -> int:
    """Return the bits from the last one that is set to the first."""
    return bits.bit_length() - ((bits & -bits).bit_length() - 1) if bits else 0


def check_product(product: Any, *works: Any) -> None:
    """Refuse what is no product, or no work of one.

    Raises
    ------
    InvalidTypeError
        One of them is of another class.
    """
    if not isinstance(product, Product):
        instance("product", product, Product)
    for work in works:
        if not isinstance(work, Work):
            instance("work", work, Work)
