"""What is known of one version of an HLS compiler: the numbers that its laws are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Band", "Measured", "ToolLaws"]


@dataclass(frozen=True)
class Band:
    """Ratios of a report to the estimate that enclose nine of ten reports."""

    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What the reports behind a tool's laws were of: ends included, empty where there were none.

    Parameters
    ----------
    families
        Names of the families of FPGAs.
    clocks
        Shortest and longest target clock period, in nanoseconds.
    weight_widths, input_widths, sum_widths
        Narrowest and widest weights, inputs and running sums, in bits.
    sizes
        Least and most rows or columns of a layer's matrix.
    constants_up_to
        Weights of the largest layer whose weights are constants.
    reuse
        Reuse factors above 1 of layers with Latency, least and most.
    structures
        What of ``'time-multiplexed'``, ``'resource at 1'``, ``'io_stream'`` and ``'convolution in a stream'``
        there was, beside dense layers with Latency and ``io_parallel``.
    versions
        Other versions of the compiler that there were reports of.
    """

    families: tuple[str, ...]
    clocks: tuple[float, float]
    weight_widths: tuple[int, int]
    input_widths: tuple[int, int]
    sum_widths: tuple[int, int]
    sizes: tuple[int, int]
    constants_up_to: int
    reuse: tuple[int, int]
    structures: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToolLaws:
    """The numbers of one version of a compiler.

    Parameters
    ----------
    name
        Program and version, such as ``'Vitis HLS 2021.1'``.
    uncertainty
        Part of the clock period that the compiler leaves free: hls4ml's default for it.
    level_ns
        Family -> nanoseconds of one level of a tree of adders of 16 to 22 bits, as the compiler schedules it.
    dsp_ns
        Family -> nanoseconds of a product in a DSP block, or of one in LUTs.
    stages
        Whether pipeline registers are counted stage by stage; else as a law was fitted to reports.
    wide_product
        Bit widths of a hard constant and its input, added up, from which a product with a constant is
        bound to a DSP; None where :func:`fabricfit.hardware.dsps_per_multiplier` and the constant's own
        width decide.
    joined_pieces
        Whether products of 32 × 32 bits, cut into four pieces, need two blocks fewer in all than four each.
    adds_bias
        Whether the first product of a sum needs an adder as well, as it is added to the bias.
    adder_extra
        LUTs of a two-operand adder beyond its width.
    tree_extra
        LUTs of an addition in a tree beyond its width.
    multiple_adders
        Adders of a multiple of two signed digits.
    wrapper_lut
        LUTs beside a product that is not registered inside its DSP.
    staged_wrapper_lut
        LUTs beside a DSP whose product takes several cycles.
    multiplies_in_arrays
        Whether hard products in LUTs are arrays (about one LUT for each pair of bits), not shifts and
        additions.
    shared_lut
        LUTs, for each product of a shared multiplier and for each turn of it, that pick its operands.
    waiting_cycles
        Cycles from the last product of a shared multiplier to the last sum: in a DSP, and in LUTs.
    softmax_tables
        RAMB18 of the tables of a softmax, for each class and beside those.
    stream_cycles
        Cycles beyond RF for each pixel of a convolution in a stream with Resource: with one piece a
        product, and for each further piece.
    fused_product
        Bits of weight and input, added up, from which a time-multiplexed product is in a DSP together with
        the sum that it is added to; one for each sum. From 16 bits on every product is.
    window
        LUTs and flip-flops of the window and the counters of a layer that goes over a stream of pixels.
    line_lut
        LUTs of a channel's line buffers: for each, and for each pair of them.
    bands
        What is built, and the resource -> the band.
    measured
        What the reports behind it were of.
    source
        Where the reports are from, and how sure the laws are.
    """

    name: str
    uncertainty: float
    level_ns: Mapping[str, float]
    dsp_ns: Mapping[str, float]
    bands: Mapping[tuple[str, str], Band]
    measured: Measured
    source: str
    stages: bool = True
    wide_product: int | None = None
    joined_pieces: bool = False
    adds_bias: bool = True
    adder_extra: float = 7.0
    tree_extra: float = 2.8
    multiple_adders: float = 1.5
    wrapper_lut: float = 5.0
    staged_wrapper_lut: float = 5.0
    multiplies_in_arrays: bool = False
    shared_lut: tuple[float, float] = (6.3, 6.5)
    waiting_cycles: tuple[int, int] = (4, 2)
    softmax_tables: tuple[float, float] = (0.5, 1.0)
    stream_cycles: tuple[int, int] = (5, 2)
    fused_product: int = 16
    window: tuple[float, float] = (550.0, 480.0)
    line_lut: tuple[float, float] = (0.0, 0.0)

    def delay(self, table: Mapping[str, float], family: str) -> float:
        """Return a delay in a family, that of 7 series where the family is not in the table."""
        return table.get(family, table["7series"])
