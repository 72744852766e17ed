"""Vitis HLS 2024.1, for the versions from 2022.2 on."""

from __future__ import annotations

from fabricfit.hardware.product import WIDE_PRODUCT
from fabricfit.hardware.tools.record import Band, Measured, ToolLaws

__all__ = ["VITIS_2024_1"]

VITIS_2024_1 = ToolLaws(
    name="Vitis HLS 2024.1",
    uncertainty=0.27,
    level_ns={"ultrascale+": 1.14, "ultrascale": 1.35, "7series": 2.3, "versal": 1.05},
    dsp_ns={"ultrascale+": 1.65, "ultrascale": 2.0, "7series": 3.36, "versal": 1.6},
    wide_product=WIDE_PRODUCT,
    multiple_adders=1.2,
    staged_wrapper_lut=14.0,
    fused_product=12,
    window=(600.0, 160.0),
    line_lut=(50.0, 18.0),
    softmax_tables=(1.6, 0.0),
    bands={
        ("latency", "lut"): Band(0.85, 1.15),
        ("latency", "ff"): Band(0.60, 1.60),
        ("shared", "lut"): Band(0.75, 1.30),
        ("shared", "ff"): Band(0.60, 1.60),
        ("time-multiplexed", "lut"): Band(0.80, 1.25),
        ("time-multiplexed", "ff"): Band(0.70, 1.60),
        ("resource at 1", "lut"): Band(0.75, 1.30),
        ("resource at 1", "ff"): Band(0.60, 2.00),
        ("adders", "lut"): Band(0.50, 1.20),
        ("adders", "ff"): Band(0.50, 2.00),
    },
    measured=Measured(
        families=("ultrascale+", "7series"),
        clocks=(5.0, 30.0),
        weight_widths=(6, 16),
        input_widths=(6, 16),
        sum_widths=(16, 25),
        sizes=(1, 256),
        constants_up_to=4096,
        reuse=(2, 1),
        structures=("time-multiplexed", "io_stream", "convolution in a stream"),
        versions=("2023.2", "2024.2"),
    ),
    source=(
        "24 dense layers with Latency and RF 1 of jet taggers (2024.1, UltraScale+, 5 ns, 8 to 16 "
        "bits, some of them trained with HGQ2), and two networks in streams: a LeNet with Latency "
        "(2023.2, UltraScale+, 5 ns) and five layers with Resource (2024.2, 7 series, 30 ns). Which "
        "products are bound to DSPs is a threshold that fits 21 of 24 layers; LUTs and registers "
        "follow a model of stages with two fitted delays, whose LUTs were then within 13 % in the ten "
        "layers of streams; the loops with Resource are what the reports list"
    ),
)
