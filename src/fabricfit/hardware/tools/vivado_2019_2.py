"""Vivado HLS 2019.2: convolutions in streams, of 32 bits."""

from __future__ import annotations

from dataclasses import replace

from fabricfit.hardware.tools.record import Band, Measured
from fabricfit.hardware.tools.vivado_2020_1 import BANDS, VIVADO_2020_1

__all__ = ["VIVADO_2019_2"]

VIVADO_2019_2 = replace(
    VIVADO_2020_1,
    name="Vivado HLS 2019.2",
    joined_pieces=True,
    bands={
        **BANDS,
        ("convolution in a stream", "lut"): Band(0.75, 1.25),
        ("convolution in a stream", "ff"): Band(0.75, 1.25),
    },
    measured=Measured(
        families=("7series",),
        clocks=(5.0, 5.0),
        weight_widths=(32, 32),
        input_widths=(32, 32),
        sum_widths=(32, 32),
        sizes=(4, 40),
        constants_up_to=0,
        reuse=(2, 1),
        structures=("time-multiplexed", "convolution in a stream"),
    ),
    source=(
        "7 convolutions in a stream with Resource of a public network (32 bits, 7 series, 5 ns). "
        "Interval and DSPs were right in all of them; LUTs and FFs are fitted to three. The rest is "
        "Vivado HLS 2020.1's"
    ),
)
