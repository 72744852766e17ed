"""Activation functions: piecewise linear ones by comparison, others from a table."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import (
    MAX_BITS,
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    multiply,
)
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights

__all__ = ["compute_by_table", "float_function", "rectify"]


@register("Activation")
def activation(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute an activation without a parameter."""
    name, result = str(node.get_attr("activation")).lower(), result_format(node)
    match name:
        case "linear":
            return cast(inputs[0], result)
        case "relu":
            return rectify(inputs[0], result)
        case "relu1" | "relu6":
            return _clip(inputs[0], int(name.removeprefix("relu")), result)
        case "sigmoid" | "tanh":
            return cast(compute_by_table(node, inputs[0], name), result)
    raise NotModelledError(f"the activation {name!r}")


@register("ParametrizedActivation")
def parametrized_activation(
    node: Any, inputs: list[FixedTensor], weights: KerasWeights
) -> FixedTensor:
    """Compute LeakyReLU, or ReLU with a threshold (which is what hls4ml makes of a ReLU layer)."""
    name, result = str(node.get_attr("activation")).lower(), result_format(node)
    parameter = FixedTensor.from_float(
        float(node.get_attr("activ_param", 1.0)), format_of(node, "param_t")
    )
    kept = cast(inputs[0], result)
    match name:
        case "leakyrelu" | "leaky_relu":
            scaled = cast(multiply(inputs[0], parameter), result)
            return _choose(inputs[0].values > 0, kept, scaled.values)
        case "thresholdedrelu" | "thresholded_relu":
            return _choose(add(inputs[0], parameter, -1).values > 0, kept, 0)
    raise NotModelledError(f"the activation {name!r}")


def rectify(x: FixedTensor, result: Format) -> FixedTensor:
    """Return positive numbers in another format, and zero for the others."""
    return _choose(x.values > 0, cast(x, result), 0)


def _choose(where: np.ndarray, then: FixedTensor, otherwise: Any) -> FixedTensor:
    return FixedTensor(np.where(where, then.values, otherwise), then.format)


def _clip(x: FixedTensor, most: int, result: Format) -> FixedTensor:
    ceiling = FixedTensor(np.array(most), Format(32, 32))
    above = add(x, ceiling, -1).values > 0
    kept = _choose(x.values >= 0, cast(x, result), 0)
    return _choose(~above, kept, cast(ceiling, result).values)


def compute_by_table(node: Any, x: FixedTensor, name: str) -> FixedTensor:
    """Read sigmoid over ±8, or tanh over ±4, from a table, as in ``nnet_activation.h``.

    Parameters
    ----------
    node
        A node with the attributes ``table_size`` and ``table_t``.
    x
        Numbers.
    name
        ``'sigmoid'`` or ``'tanh'``.

    Raises
    ------
    NotModelledError
        Numbers are so wide that the table's address would wrap.
    """
    size, table = int(node.get_attr("table_size")), format_of(node, "table_t")
    reach = {"sigmoid": 8, "tanh": 4}[name]
    bits = size.bit_length()
    if x.format.width + bits > MAX_BITS or x.format.integer + bits - reach.bit_length() > 31:
        raise NotModelledError(f"a table that is addressed by {x.format}")
    points = np.arange(size)
    at = (2 * reach * (points - np.float64(size) / 2) / np.float64(size)).astype(np.float32)
    entries = FixedTensor.from_float(_TABULATED[name](at), table)
    # The quotient is truncated towards zero.
    scaled, unit = x.values * size, 2 * reach * 2.0**x.format.fractional
    index = np.trunc(scaled / unit).astype(np.int64) + size // 2
    return FixedTensor(entries.values[np.clip(index, 0, size - 1)], table)


def _compute_sigmoid(x: np.ndarray) -> np.ndarray:
    lower = np.float32(1) + float_function("exp")(-x)
    return (1.0 / lower.astype(np.float64)).astype(np.float32)


def _compute_tanh(x: np.ndarray) -> np.ndarray:
    return float_function("tanh")(x)


_TABULATED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": _compute_sigmoid,
    "tanh": _compute_tanh,
}


@cache
def float_function(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of single-precision numbers as the C library computes it.

    Its last bit can differ from NumPy's, and so could an entry of a table.
    """
    library = ctypes.util.find_library("m")
    function = getattr(ctypes.CDLL(library), f"{name}f", None) if library else None
    if function is None:  # rounded from double precision: nearly always the same
        exact = getattr(np, name)
        return lambda x: exact(np.asarray(x, np.float64)).astype(np.float32)
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return lambda x: np.array([function(v) for v in np.ravel(x)], np.float32).reshape(np.shape(x))
