"""Activation functions: piecewise linear ones by comparison, others from a table."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.firmware.emulation.fixed import (
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    multiply,
)
from fabricfit.firmware.emulation.registry import format_of, is_stream, register, result_format
from fabricfit.firmware.emulation.tables import SELU_SCALE, TABULATED, compute_by_table
from fabricfit.firmware.emulation.weights import KerasWeights

__all__ = ["rectify"]


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
        case "selu":
            return _compute_selu(node, inputs[0], result)
    if name in TABULATED:
        return cast(compute_by_table(node, inputs[0], name), result)
    raise NotModelledError(f"the activation {name!r}")


@register("ParametrizedActivation")
def parametrized_activation(
    node: Any, inputs: list[FixedTensor], weights: KerasWeights
) -> FixedTensor:
    """Compute LeakyReLU, ELU, or ReLU with a threshold (which is what hls4ml makes of a ReLU layer)."""
    name, result = str(node.get_attr("activation")).lower(), result_format(node)
    parameter = FixedTensor.from_float(
        float(node.get_attr("activ_param", 1.0)), format_of(node, "param_t")
    )
    kept = cast(inputs[0], result)
    match name:
        case "leakyrelu" | "leaky_relu":
            return _bend(inputs[0], parameter, result)
        case "thresholdedrelu" | "thresholded_relu":
            if not parameter.values:
                return rectify(inputs[0], result)
            return _choose(add(inputs[0], parameter, -1).values > 0, kept, 0)
        case "elu":
            below = cast(multiply(compute_by_table(node, inputs[0], name), parameter), result)
            return _choose(inputs[0].values >= 0, kept, below.values)
    raise NotModelledError(f"the activation {name!r}")


@register("PReLU")
def parametrized_relu(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a ReLU with a slope of negative numbers for each input."""
    slopes = keras.ops.convert_to_numpy(weights.layer(node).alpha)
    if slopes.shape != inputs[0].shape[1:]:
        raise NotModelledError("slopes that several inputs share")
    return _bend(inputs[0], weights.quantized(node, "param", slopes), result_format(node))


@register("HardActivation")
def hard_activation(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a line between two constants, with hls4ml's slope and shift."""
    name, result = str(node.get_attr("activation")).lower(), result_format(node)
    slope, shift = (
        FixedTensor.from_float(float(node.get_attr(part)), format_of(node, f"{part}_t"))
        for part in ("slope", "shift")
    )
    line = add(multiply(slope, inputs[0]), shift)
    one = 1 << line.format.fractional
    clipped = FixedTensor(np.clip(line.values, 0, one), line.format)
    match name:
        case "hard_sigmoid":
            return cast(clipped, result)
        case "hard_tanh":
            wider = Format(line.format.width + 1, line.format.integer + 1)
            return cast(FixedTensor(2 * clipped.values - one, wider), result)
    raise NotModelledError(f"the activation {name!r}")


def rectify(x: FixedTensor, result: Format) -> FixedTensor:
    """Return positive numbers in another format, and zero for the others."""
    return cast(FixedTensor(np.maximum(x.values, 0), x.format), result)


def _choose(where: np.ndarray, then: FixedTensor, otherwise: Any) -> FixedTensor:
    return FixedTensor(np.where(where, then.values, otherwise), then.format)


def _bend(x: FixedTensor, slope: FixedTensor, result: Format) -> FixedTensor:
    """Return positive numbers as they are and others times a slope."""
    return _choose(x.values > 0, cast(x, result), cast(multiply(x, slope), result).values)


def _compute_selu(node: Any, x: FixedTensor, result: Format) -> FixedTensor:
    """Scale positive numbers, by a constant in the format of the numbers where they are streamed."""
    form = x.format if is_stream(node) else Format(16, 1, signed=False)
    scaled = multiply(x, FixedTensor.from_float(SELU_SCALE, form))
    below = cast(compute_by_table(node, x, "selu"), result)
    return _choose(x.values >= 0, cast(scaled, result), below.values)


def _clip(x: FixedTensor, most: int, result: Format) -> FixedTensor:
    ceiling = FixedTensor(np.array(most), Format(32, 32))
    above = add(x, ceiling, -1).values > 0
    kept = _choose(x.values >= 0, cast(x, result), 0)
    return _choose(~above, kept, cast(ceiling, result).values)
