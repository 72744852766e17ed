"""A whole network as synthesizable Verilog: written, simulated bit for bit and synthesized with open tools.

The layers are traced with the functions of :mod:`fabricfit.firmware.emulation`, on signals in the place of
integers; ``alkaid`` finds the adders that equal parts of sums share. What is written is simulated against the
same functions on integers, which are themselves compared with hls4ml's C++.
"""

from __future__ import annotations

from fabricfit.firmware.rtl.check import TIME_LIMIT, verify_design
from fabricfit.firmware.rtl.design import REGISTER_EVERY, make_design, to_rtl
from fabricfit.firmware.rtl_result import RtlDesign, RtlDifference, RtlVerification

__all__ = [
    "REGISTER_EVERY",
    "TIME_LIMIT",
    "RtlDesign",
    "RtlDifference",
    "RtlVerification",
    "make_design",
    "to_rtl",
    "verify_design",
]
