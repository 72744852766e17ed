"""Which activation functions work number by number, so that a constant stays one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.surgery.rules import Constants, apply_elementwise

__all__ = ["activate", "why_mixing"]

# fmt: off
_ELEMENTWISE = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh",
    "tanh_shrink",
)

_QUANTIZERS = (
    "quantized_bits", "quantized_hswish", "quantized_linear", "quantized_relu",
    "quantized_sigmoid", "quantized_tanh",
)
# fmt: on

_STEP_MARGIN = 1e-5
"""A constant this close (relative) to a quantizer's step may fall on either side of it."""


def why_mixing(activation: Any) -> str | None:
    """Say why an activation is not known to work unit by unit; ``None`` where it does.

    Parameters
    ----------
    activation
        What a layer holds as ``activation``: a Keras function, a QKeras quantizer, or ``None``.
    """
    if activation is None or _is_elementwise(activation) or _is_fixed_quantizer(activation):
        return None
    name = getattr(activation, "__name__", type(activation).__name__)
    if any(activation is getattr(keras.activations, n, None) for n in ("softmax", "log_softmax")):
        return f"its activation {name!r} mixes units"
    return f"its activation {name!r} is not known to work unit by unit"


def activate(activation: Any, constants: Constants) -> Constants:
    """Return what an activation makes of constants; NaN where they vary or may not be exact."""
    if activation is None or activation is keras.activations.linear:
        return np.where(np.isfinite(constants), constants, np.nan)
    result = apply_elementwise(activation, constants)
    if not _is_fixed_quantizer(activation):
        return result
    below = apply_elementwise(activation, constants * (1 - _STEP_MARGIN))
    above = apply_elementwise(activation, constants * (1 + _STEP_MARGIN))
    return np.where((below == result) & (result == above), result, np.nan)


def _is_elementwise(activation: Any) -> bool:
    return any(activation is getattr(keras.activations, name, None) for name in _ELEMENTWISE)


def _is_fixed_quantizer(activation: Any) -> bool:
    cls = type(activation)
    return (
        cls.__module__.split(".")[0] == "qkeras"
        and cls.__name__ in _QUANTIZERS
        # A textual alpha is a scale that depends on the data, all units of it.
        and not isinstance(getattr(activation, "alpha", None), str)
        and not getattr(activation, "use_stochastic_rounding", False)
    )
