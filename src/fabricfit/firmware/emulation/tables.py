"""Functions that hls4ml reads from tables, as in ``nnet_activation.h``."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import MAX_BITS, FixedTensor, NotModelledError
from fabricfit.firmware.emulation.registry import format_of
from fabricfit.firmware.emulation.wires import Wires

__all__ = ["BELOW_ZERO", "SELU_SCALE", "TABULATED", "compute_by_table", "float_function"]

_REACH = {"tanh": 4}
"""Largest input of a table, where it is not the usual one."""

_USUAL_REACH = 8

SELU_SCALE = 1.0507009873554805
"""What hls4ml multiplies the results of a selu by."""


def compute_by_table(node: Any, x: FixedTensor, name: str) -> FixedTensor:
    """Read a function from its table: over ±8, tanh over ±4, those of negative numbers from -8 to 0.

    Parameters
    ----------
    node
        A node with the attributes ``table_size`` and ``table_t``.
    x
        Numbers; what is found for those that are not negative has no meaning where the table has none.
    name
        One of :data:`TABULATED` or :data:`BELOW_ZERO`.

    Raises
    ------
    NotModelledError
        Numbers are so wide that the table's address would wrap.
    """
    size, table = int(node.get_attr("table_size")), format_of(node, "table_t")
    if isinstance(x.values, Wires):
        found = x.values.looked_up(
            lambda numbers: compute_by_table(node, FixedTensor(numbers, x.format), name).values
        )
        return FixedTensor(found, table)
    reach, bits = _REACH.get(name, _USUAL_REACH), size.bit_length()
    if x.format.width + bits > MAX_BITS or x.format.integer + bits - reach.bit_length() > 31:
        raise NotModelledError(f"a table that is addressed by {x.format}")
    points = np.arange(size)
    if name in BELOW_ZERO:
        span, zero, function = -reach, 0, BELOW_ZERO[name]
        at = -np.float64(reach) * points / np.float64(size)
    else:
        span, zero, function = 2 * reach, size // 2, TABULATED[name]
        at = 2 * reach * (points - np.float64(size) / 2) / np.float64(size)
    entries = FixedTensor.from_float(function(at.astype(np.float32)), table)
    # The quotient is truncated towards zero.
    scaled, unit = x.values * size, span * 2.0**x.format.fractional
    index = np.trunc(scaled / unit).astype(np.int64) + zero
    return FixedTensor(entries.values[np.clip(index, 0, size - 1)], table)


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


def _exponential(x: np.ndarray) -> np.ndarray:
    """Return single-precision exponentials in double precision, in which C++ goes on."""
    return float_function("exp")(x).astype(np.float64)


def _compute_sigmoid(x: np.ndarray) -> np.ndarray:
    lower = np.float32(1) + float_function("exp")(-x)
    return (1.0 / lower.astype(np.float64)).astype(np.float32)


def _compute_tanh(x: np.ndarray) -> np.ndarray:
    return float_function("tanh")(x)


def _compute_softplus(x: np.ndarray) -> np.ndarray:
    return np.log(_exponential(x) + 1.0).astype(np.float32)


def _compute_softsign(x: np.ndarray) -> np.ndarray:
    exact = x.astype(np.float64)
    return (exact / (np.abs(exact) + 1.0)).astype(np.float32)


def _compute_elu(x: np.ndarray) -> np.ndarray:
    return (_exponential(x) - 1.0).astype(np.float32)


def _compute_selu(x: np.ndarray) -> np.ndarray:
    scaled = 1.6732632423543772 * (_exponential(x) - 1.0)
    return (SELU_SCALE * scaled).astype(np.float32)


_Function = Callable[[np.ndarray], np.ndarray]

TABULATED: dict[str, _Function] = {
    "sigmoid": _compute_sigmoid,
    "tanh": _compute_tanh,
    "softplus": _compute_softplus,
    "softsign": _compute_softsign,
}
"""Functions whose tables have negative and positive inputs."""

BELOW_ZERO: dict[str, _Function] = {"elu": _compute_elu, "selu": _compute_selu}
"""Functions whose tables have negative inputs only."""
