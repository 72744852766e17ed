# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Depthwise convolutions: each input unit makes its own few output units."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.activations import activate, why_mixing
from fabricfit.surgery.families.dense_and_conv import plain_kernel_obstacle
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Link,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    only_zero,
    register,
    to_numpy,
)

__all__ = ["Depthwise"]


@register
class Depthwise(Rule):
    """A kernel of shape ``(…, n_in, multiplier)``; output ``i * multiplier + m`` is of input i."""

    handles = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        return plain_kernel_obstacle(call, "kernel")

    def pins_output(self, call: Call) -> str | None:
        return why_mixing(call.layer.activation)

    def links(self, call: Call) -> list[Link]:
        outputs = np.arange(call.output.units or 0)
        return [Link(0, outputs // call.layer.depth_multiplier, outputs)]

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        layer = call.layer
        known = inputs[0] if layer.padding == "valid" else only_zero(inputs[0])
        known = np.repeat(known, layer.depth_multiplier)
        kernel = to_numpy(_kernel_of(layer)).reshape(-1, known.size)
        silent = (kernel == 0).all(axis=0)
        sums = np.where(silent, 0.0, known * kernel.sum(axis=0))
        bias = to_numpy(layer.bias) if layer.use_bias else 0.0
        return activate(layer.activation, sums + bias)

    def zero_units(self, call: Call) -> np.ndarray:
        kernel = to_numpy(_kernel_of(call.layer))
        return (kernel.reshape(-1, call.output.units or 1) == 0).all(axis=0)

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {"": Wiring(None, numbers.output)}

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        kernel, *bias = call.layer.get_weights()
        weights = [kernel[..., cut.kept_inputs[0], :], *(b[cut.kept_output] for b in bias)]
        return Replacement(weights=weights)


def _kernel_of(layer: Any) -> Any:
    own = getattr(layer, "depthwise_kernel", None)  # QKeras' name for it
    return layer.kernel if own is None else own
