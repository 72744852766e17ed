"""Vitis HLS 2021.1, for the versions up to 2022.1: many registers, arrays of LUTs as multipliers."""

from __future__ import annotations

from fabricfit.hardware.product import WIDE_PRODUCT
from fabricfit.hardware.tools.record import Band, Measured, ToolLaws

__all__ = ["VITIS_2021_1"]

VITIS_2021_1 = ToolLaws(
    name="Vitis HLS 2021.1",
    uncertainty=0.27,
    level_ns={"ultrascale+": 1.14, "ultrascale": 1.35, "7series": 2.3, "versal": 1.05},
    dsp_ns={"ultrascale+": 1.65, "ultrascale": 2.0, "7series": 3.36, "versal": 1.6},
    wide_product=WIDE_PRODUCT,
    tree_extra=4.2,
    multiple_adders=0.15,
    wrapper_lut=0.0,
    staged_wrapper_lut=14.0,
    multiplies_in_arrays=True,
    fused_product=12,
    window=(600.0, 160.0),
    line_lut=(50.0, 18.0),
    softmax_tables=(1.0, 0.0),
    bands={
        ("latency", "lut"): Band(0.75, 1.25),
        ("latency", "ff"): Band(0.75, 1.30),
        ("shared", "lut"): Band(0.75, 1.25),
        ("shared", "ff"): Band(0.60, 1.40),
        ("time-multiplexed", "lut"): Band(0.80, 1.25),
        ("time-multiplexed", "ff"): Band(0.70, 1.60),
        ("resource at 1", "lut"): Band(0.75, 1.30),
        ("resource at 1", "ff"): Band(0.60, 2.00),
        ("adders", "lut"): Band(0.50, 1.20),
        ("adders", "ff"): Band(0.50, 2.00),
    },
    measured=Measured(
        families=("7series",),
        clocks=(3.33, 5.0),
        weight_widths=(8, 8),
        input_widths=(8, 9),
        sum_widths=(16, 16),
        sizes=(2, 64),
        constants_up_to=2048,
        reuse=(2, 100),
    ),
    source=(
        "50 dense layers with Latency of three taggers and the like (7 series, 5 and 3.33 ns, 8-bit "
        "weights; ArgyKokk/hls4ml_MLP_estimator), most with products bound to DSPs or to LUTs by "
        "config_op. Multipliers and intervals are sure; LUTs, registers and cycles follow a model of "
        "stages with two fitted delays"
    ),
)
