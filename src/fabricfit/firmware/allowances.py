"""How far a layer's results in hardware may be from exact ones, by the number formats of its own code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabricfit.errors import InvalidInputError
from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError
from fabricfit.firmware.emulation.registry import format_of, result_format

__all__ = ["Allowance", "allowance", "last_bit"]

_STEEPEST = 1.8
"""No activation that hls4ml reads from a table is steeper (selu: 1.76)."""

_STEEPNESS = {"sigmoid": 0.25, "tanh": 1.0}

_ENDS = 1e-3
"""What sigmoid and tanh still change by beyond the ends of hls4ml's tables, ±8 and ±4."""

_COMPARED = ("linear", "relu", "relu1", "relu6", "thresholdedrelu", "leakyrelu", "prelu")
"""Activations without a table."""


@dataclass(frozen=True)
class Allowance:
    """What the number formats of a node of hls4ml's graph account for.

    Parameters
    ----------
    error
        Largest error of a result; None where no bound is known.
    held
        Formats that a result passes through, each with the factor by which the sum in it is larger: what is
        beyond one of them overflows.
    reach
        Largest input that the node's table represents.
    products
        Whether it sums products, so that partial sums may saturate where the end does not.
    """

    error: float | None
    held: tuple[tuple[Format, float], ...] = field(default=())
    reach: float = math.inf
    products: bool = False


def last_bit(format: Format) -> float:
    """Return the value of a format's last bit."""
    return float(2.0**-format.fractional)


def allowance(node: Any, largest: float, exact_weights: bool) -> Allowance:
    """Return what the formats of a node account for.

    Every cast drops less than one unit of the last bit of its target. A sum of n products thus differs by
    less than n units of its accumulator where products have more fractional bits than that; weights differ
    from their numbers in hardware by what was measured on them; a table is off by its step.

    Parameters
    ----------
    node
        A node of hls4ml's graph.
    largest
        Largest absolute input.
    exact_weights
        Whether the results that it is compared with were computed by the weights as they are in hardware.
    """
    rule = _RULES.get(node.class_name)
    try:
        result = result_format(node)
        if rule is None:
            return Allowance(None, ((result, 1.0),))
        found = rule(node, largest, exact_weights)
    except (NotModelledError, InvalidInputError, KeyError):  # floats, powers of two, wide numbers
        return Allowance(None)
    error = None if found.error is None else found.error + last_bit(result)
    return Allowance(error, (*found.held, (result, 1.0)), found.reach, found.products)


def _product(node: Any, largest: float, exact_weights: bool) -> Allowance:
    if node.get_attr("strategy") == "distributed_arithmetic":
        return Allowance(0.0)
    accum = format_of(node, "accum_t")
    kernel, *others = node.weights
    terms = _count_terms(node, node.weights[kernel])
    fractional = Format.of(node.get_input_variable().type.precision).fractional
    fractional += Format.of(node.weights[kernel].type.precision).fractional
    error = (terms if fractional > accum.fractional else 0) * last_bit(accum) + last_bit(accum)
    if not exact_weights:
        error += terms * largest * _rounding_of(node.weights[kernel])
        error += sum(_rounding_of(node.weights[name]) for name in others)
    return Allowance(error, ((accum, 1.0),), products=True)


def _count_terms(node: Any, kernel: Any) -> int:
    """Return how many products a result has, or more."""
    size = int(np.size(kernel.data))
    if node.class_name == "EinsumDense":
        return int(node.get_attr("n_contract") or size)
    results = int(node.get_attr("n_filt") or node.get_attr("n_out") or 1)
    return max(1, math.ceil(size / results))


def _rounding_of(variable: Any) -> float:
    data: np.ndarray = np.asarray(variable.data, np.float64)
    rounded = FixedTensor.from_float(data, Format.of(variable.type.precision)).to_float()
    return float(np.abs(rounded - data).max(initial=0.0))


def _scale(node: Any, largest: float, exact_weights: bool) -> Allowance:
    error = largest * _rounding_of(node.get_weights("scale"))
    return Allowance(error + _rounding_of(node.get_weights("bias")))


def _activation(node: Any, largest: float, exact_weights: bool) -> Allowance:
    name = str(node.get_attr("activation")).lower().replace("_", "")
    if name in _COMPARED:
        parameter = node.get_attr("param_t")
        if parameter is None:
            return Allowance(0.0)
        return Allowance((largest + 1) * last_bit(Format.of(parameter.precision)))
    saturating = name in ("sigmoid", "tanh")
    reach = 4.0 if name == "tanh" else 8.0
    step = 2 * reach / int(node.get_attr("table_size") or 1024)
    table = node.get_attr("table_t")
    error = _STEEPNESS.get(name, _STEEPEST) * step + (
        0.0 if table is None else last_bit(Format.of(table.precision))
    )
    if saturating:
        return Allowance(error + _ENDS)
    return Allowance(error, reach=reach)


def _hard_activation(node: Any, largest: float, exact_weights: bool) -> Allowance:
    """Bound a line between two constants: its slope and its shift are rounded."""
    off = {}
    for name in ("slope", "shift"):
        number = float(node.get_attr(name))
        off[name] = abs(
            FixedTensor.from_float(number, format_of(node, f"{name}_t")).to_float() - number
        )
    return Allowance(largest * float(off["slope"]) + float(off["shift"]))


def _softmax(node: Any, largest: float, exact_weights: bool) -> Allowance:
    """Bound a stable softmax: exponentials of at most 1, one of them 1, and the reciprocal of their sum.

    Other ones may be anything from 0 to 1, according to their tables.
    """
    if str(node.get_attr("implementation")).lower() != "stable":
        return Allowance(1.0)
    x = Format.of(node.get_input_variable().type.precision)
    norm = node.get_attr("inp_norm_t")
    x = x if norm is None else Format.of(norm.precision)
    table = format_of(node, "exp_table_t")
    step = 2.0**x.integer / int(node.get_attr("exp_table_size") or node.get_attr("table_size"))
    count = int(node.get_output_variable().shape[-1])
    inverse = format_of(node, "inv_table_t")
    total = node.get_attr("inv_inp_t")
    total = (
        table if total is None or total.name == "model_default_t" else Format.of(total.precision)
    )
    coarse = 2.0**total.integer / int(
        node.get_attr("inv_table_size") or node.get_attr("table_size")
    )
    sums = count * (last_bit(table) + last_bit(format_of(node, "accum_t"))) + coarse
    if total.integer - total.signed < math.log2(count + 1):  # the sum may not fit
        return Allowance(1.0)
    return Allowance(2 * math.expm1(min(step, 1.0)) + 2 * sums + last_bit(inverse))


def _pooling(node: Any, largest: float, exact_weights: bool) -> Allowance:
    accum = format_of(node, "accum_t")
    if str(node.get_attr("pool_op")) != "Average":
        return Allowance(2 * last_bit(accum), ((accum, 1.0),))
    given, made = node.get_input_variable().shape, node.get_output_variable().shape
    window = int(node.get_attr("pool_width") or 0) * int(node.get_attr("pool_height") or 1)
    terms = float(window or math.prod(map(int, given)) / math.prod(map(int, made)))
    return Allowance(2 * last_bit(accum), ((accum, terms),), products=True)


def _nothing(node: Any, largest: float, exact_weights: bool) -> Allowance:
    return Allowance(last_bit(result_format(node)))


_Rule = Callable[[Any, float, bool], Allowance]
_PRODUCTS = (
    *("Dense", "EinsumDense", "Conv1D", "Conv2D", "PointwiseConv1D", "PointwiseConv2D"),
    *("DepthwiseConv1D", "DepthwiseConv2D"),
)
_EXACT = (
    *("Merge", "Concatenate", "Reshape", "Transpose", "Resize", "Clone", "Repack", "Embedding"),
    *("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D", "FixedPointQuantizer", "Broadcast"),
)  # fmt: skip
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys(_EXACT, _nothing),
    **dict.fromkeys(("BatchNormalization", "ApplyAlpha"), _scale),
    **dict.fromkeys(("Activation", "ParametrizedActivation", "PReLU", "ELU"), _activation),
    **dict.fromkeys(("Pooling1D", "Pooling2D", "GlobalPooling1D", "GlobalPooling2D"), _pooling),
    "HardActivation": _hard_activation,
    "Softmax": _softmax,
}
"""Node class -> what is known of its error."""
