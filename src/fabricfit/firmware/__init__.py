"""From a fitted model to hls4ml's firmware: the configuration, the quantized weights and the verification.

:func:`realize` returns the configuration with which hls4ml leaves out what was pruned, and refuses what
hls4ml would silently build otherwise; :func:`quantize_to_grid` quantizes weights to the hardware grid;
:func:`verify` counts the multipliers of the generated code and compares its results, bit for bit and with
Keras; :func:`to_rtl` writes a whole network as Verilog.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fabricfit.deprecation import serve_old_names

if TYPE_CHECKING:
    from fabricfit.firmware.configuration import Realized, realize
    from fabricfit.firmware.project import to_hls4ml
    from fabricfit.firmware.quantization import QuantizationChange, quantize_to_grid
    from fabricfit.firmware.quantized_network import QuantizedNetwork, evaluate
    from fabricfit.firmware.rtl import to_rtl
    from fabricfit.firmware.rtl_result import RtlDesign, RtlVerification
    from fabricfit.firmware.verification import verify
    from fabricfit.firmware.verification_result import (
        LayerDifference,
        LayerVerification,
        Mismatch,
        Outcome,
        OutputDifference,
        QuantizedMetric,
        Verification,
    )

_HOMES = {
    "LayerDifference": "verification_result",
    "LayerVerification": "verification_result",
    "Mismatch": "verification_result",
    "Outcome": "verification_result",
    "OutputDifference": "verification_result",
    "QuantizedMetric": "verification_result",
    "QuantizationChange": "quantization",
    "Realized": "configuration",
    "RtlDesign": "rtl_result",
    "RtlVerification": "rtl_result",
    "Verification": "verification_result",
    "quantize_to_grid": "quantization",
    "evaluate": "quantized_network",
    "QuantizedNetwork": "quantized_network",
    "realize": "configuration",
    "to_hls4ml": "project",
    "to_rtl": "rtl",
    "verify": "verification",
}
"""Public name -> its module, imported at first use, so that ``import fabricfit`` needs no Keras."""
_serve_old_name = serve_old_names(__name__, {"snap_model": "quantize_to_grid"})

__all__ = [
    "LayerDifference",
    "LayerVerification",
    "Mismatch",
    "Outcome",
    "OutputDifference",
    "QuantizationChange",
    "QuantizedMetric",
    "QuantizedNetwork",
    "Realized",
    "RtlDesign",
    "RtlVerification",
    "Verification",
    "evaluate",
    "quantize_to_grid",
    "realize",
    "to_hls4ml",
    "to_rtl",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"fabricfit.firmware.{_HOMES[name]}"), name)
    return _serve_old_name(name)
