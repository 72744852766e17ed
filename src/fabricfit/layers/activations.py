"""Activation functions: which work number by number, which are piecewise linear, what they cost."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.units import Constants, apply_elementwise

__all__ = ["activate", "is_piecewise_linear", "why_units_mix", "work_of_activation"]

# fmt: off
_ELEMENTWISE = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh",
    "tanh_shrink",
)

_PIECEWISE_LINEAR = ("linear", "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh")

_TABULATED = ("elu", "gelu", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh")

_QUANTIZERS = (
    "quantized_bits", "quantized_hswish", "quantized_linear", "quantized_relu",
    "quantized_sigmoid", "quantized_tanh",
)
# fmt: on

_STEP_MARGIN = 1e-5
"""A constant this close (relative) to a quantizer's step may fall on either side of it."""


def why_units_mix(activation: Any) -> str | None:
    """Return why an activation is not known to work unit by unit; ``None`` where it does.

    Parameters
    ----------
    activation
        What a layer holds as ``activation``: a Keras function, a QKeras quantizer, or ``None``.
    """
    if (
        activation is None
        or _is_one_of(activation, _ELEMENTWISE)
        or _is_fixed_quantizer(activation)
    ):
        return None
    name = getattr(activation, "__name__", type(activation).__name__)
    if _is_one_of(activation, ("softmax", "log_softmax")):
        return f"its activation {name!r} mixes units"
    return f"its activation {name!r} is not known to work unit by unit"


def is_piecewise_linear(function: Any) -> bool:
    """Return whether a function of Keras is known to be piecewise linear, number by number."""
    return _is_one_of(function, _PIECEWISE_LINEAR)


def work_of_activation(activation: Any, alone: ElementwiseWork) -> ElementwiseWork:
    """Return what hls4ml's code does for each result of an activation.

    Parameters
    ----------
    activation
        What a layer holds as ``activation``: a function of Keras, a quantizer, a layer, or ``None``.
    alone
        The work where there is no activation, or a linear one.
    """
    name = getattr(activation, "__name__", "")
    if name in ("", "linear"):
        return alone
    if name == "softmax":
        return ElementwiseWork.SOFTMAX
    return ElementwiseWork.LOOKUP_TABLE if name in _TABULATED else ElementwiseWork.COMPARE


def activate(activation: Any, constants: Constants) -> Constants:
    """Return an activation's results on constants; NaN where they vary or may not be exact."""
    if activation is None or activation is keras.activations.linear:
        return np.where(np.isfinite(constants), constants, np.nan)
    result = apply_elementwise(activation, constants)
    if not _is_fixed_quantizer(activation):
        return result
    below = apply_elementwise(activation, constants * (1 - _STEP_MARGIN))
    above = apply_elementwise(activation, constants * (1 + _STEP_MARGIN))
    return np.where((below == result) & (result == above), result, np.nan)


def _is_one_of(function: Any, names: tuple[str, ...]) -> bool:
    return any(function is getattr(keras.activations, name, None) for name in names)


def _is_fixed_quantizer(activation: Any) -> bool:
    cls = type(activation)
    return (
        cls.__module__.split(".")[0] == "qkeras"
        and cls.__name__ in _QUANTIZERS
        # A textual alpha is a scale that depends on the data, all units of it.
        and not isinstance(getattr(activation, "alpha", None), str)
        and not getattr(activation, "use_stochastic_rounding", False)
    )
