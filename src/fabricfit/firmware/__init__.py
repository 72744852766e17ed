"""From a fitted model to hls4ml's firmware: savings made real there, and proved.

:func:`realize` writes the configuration with which hls4ml leaves out what was pruned, and refuses what it
would silently build otherwise; :func:`snap_model` puts weights on hardware's grid; :func:`verify` counts
the multipliers of the generated code and compares what it computes, bit for bit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabricfit.firmware.configuration import Realized, realize
    from fabricfit.firmware.snapping import snap_model
    from fabricfit.firmware.verification import verify
    from fabricfit.firmware.verification_result import LayerVerification, Mismatch, Verification

_HOMES = {
    "LayerVerification": "verification_result",
    "Mismatch": "verification_result",
    "Realized": "configuration",
    "Verification": "verification_result",
    "realize": "configuration",
    "snap_model": "snapping",
    "verify": "verification",
}

__all__ = [
    "LayerVerification",
    "Mismatch",
    "Realized",
    "Verification",
    "realize",
    "snap_model",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"fabricfit.firmware.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fabricfit.firmware' has no attribute {name!r}")
