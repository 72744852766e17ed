"""Vivado HLS 2020.1: the compiler that most is known of, and that stands in where none is stated."""

from __future__ import annotations

from fabricfit.hardware.tools.record import Band, Measured, ToolLaws

__all__ = ["VIVADO_2020_1"]

BANDS = {
    ("time-multiplexed", "lut"): Band(0.95, 1.05),
    ("time-multiplexed", "ff"): Band(0.95, 1.05),
    ("latency", "lut"): Band(0.90, 1.10),
    ("latency", "ff"): Band(0.70, 1.30),
    ("shared", "lut"): Band(0.85, 1.15),
    ("shared", "ff"): Band(0.70, 1.40),
    ("resource at 1", "lut"): Band(0.90, 1.10),
    ("resource at 1", "ff"): Band(0.75, 2.00),
    ("adders", "lut"): Band(0.50, 1.20),
    ("adders", "ff"): Band(0.50, 2.00),
}
"""What encloses nine of ten calibration runs, rounded outwards to 0.05. Flip-flops of Resource at RF = 1
reach 2.0, as with 96 inputs and weights of 6 bits and fewer the registers lie deeper in the trees. For adders
nothing was measured; these are the authors' guess, around the sharing of equal parts that adder graphs
reach."""

VIVADO_2020_1 = ToolLaws(
    name="Vivado HLS 2020.1",
    uncertainty=0.125,
    level_ns={"ultrascale+": 1.0, "ultrascale": 1.2, "7series": 2.0, "versal": 0.9},
    dsp_ns={"ultrascale+": 1.65, "ultrascale": 2.0, "7series": 3.36, "versal": 1.6},
    stages=False,
    adds_bias=False,
    bands=BANDS,
    measured=Measured(
        families=("ultrascale+",),
        clocks=(5.0, 5.0),
        weight_widths=(2, 14),
        input_widths=(16, 16),
        sum_widths=(16, 16),
        sizes=(32, 256),
        constants_up_to=3072,
        reuse=(512, 1024),
        structures=("time-multiplexed", "resource at 1"),
    ),
    source=(
        "523 runs of one dense layer (xcu250, 5 ns, wa-hls4ml-search); 464 other rows of the same set "
        "held back gave DSP 374 of 374 exact outside 6 bits, LUT and FF within 0.1 % in the median. "
        "Sure for such layers"
    ),
)
