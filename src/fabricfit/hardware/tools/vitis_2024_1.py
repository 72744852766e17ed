"""Vitis HLS 2024.1, and the versions from 2022.2 on."""

from __future__ import annotations

from fabricfit.hardware.tools.record import Band, Measured, ToolLaws

__all__ = ["VITIS_2024_1"]

VITIS_2024_1 = ToolLaws(
    name="Vitis HLS 2024.1",
    uncertainty=0.27,
    level_ns={"ultrascale+": 1.14, "ultrascale": 1.35, "7series": 2.3, "versal": 1.05},
    dsp_ns={"ultrascale+": 1.65, "ultrascale": 2.0, "7series": 3.36, "versal": 1.6},
    wide_product=20,
    multiple_adders=1.2,
    staged_wrapper_lut=14.0,
    softmax_tables=(1.6, 0.0),
    bands={
        ("latency", "lut"): Band(0.85, 1.15),
        ("latency", "ff"): Band(0.60, 1.45),
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
        families=("ultrascale+",),
        clocks=(5.0, 5.0),
        weight_widths=(8, 16),
        input_widths=(8, 16),
        sum_widths=(16, 22),
        sizes=(5, 64),
        constants_up_to=2048,
        reuse=(2, 1),
    ),
    source=(
        "24 dense layers with Latency and RF 1 of jet taggers (UltraScale+, 5 ns, 8 to 16 bits, some of them "
        "trained with HGQ2). Which products are bound to DSPs is a threshold that fits 21 of 24 layers; LUTs "
        "and registers follow a model of stages with two fitted delays"
    ),
)
