# ruff: noqa: D102 - the methods are documented where Rule declares them
"""QKeras' Dense and Conv2D: products whose weights and results go through quantizers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.keras.surgery.families.products import Product
from fabricfit.keras.surgery.graph import Call
from fabricfit.keras.surgery.propagation import (
    Constants,
    Cut,
    only_zero,
    register,
    to_numpy,
)

__all__ = ["QuantizedProduct"]


@register
class QuantizedProduct(Product):
    """A product that is only changed where the quantizers give the same numbers afterwards.

    A constant folded into a bias would be rounded, so that only the constant 0 goes. A quantizer
    whose scale depends on the whole kernel is asked again with the smaller one.
    """

    handles = ("qkeras.QConv1D", "qkeras.QConv2D", "qkeras.QDense")

    def obstacle(self, call: Call) -> str | None:
        if not hasattr(call.layer, "kernel_quantizer_internal"):
            return f"the quantizers of {call.name!r} cannot be read"
        if getattr(call.layer, "_mask", None) is not None:
            return f"{call.name!r} has a mask of its own"
        return super().obstacle(call)

    def used_weights(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        kernel = _quantized(layer, "kernel", layer.kernel)
        bias = np.zeros(kernel.shape[-1])
        if layer.use_bias:
            bias = _quantized(layer, "bias", layer.bias)
        return kernel.reshape(-1, *kernel.shape[-2:]), bias

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} is quantized, and a constant other than 0 would be rounded"

    def refusal(self, call: Call, cut: Cut) -> str | None:
        layer, rows, columns = call.layer, cut.kept_inputs[0], cut.kept_output
        whole_kernel, whole_bias = self.used_weights(layer)
        kernel, *bias = self.replacement(call, cut).weights
        part = _quantized(layer, "kernel", kernel).reshape(-1, rows.sum(), columns.sum())
        same = np.array_equal(part, whole_kernel[:, rows][..., columns])
        if bias and same:
            same = np.array_equal(_quantized(layer, "bias", bias[0]), whole_bias[columns])
        if same:
            return None
        return f"the scale of the quantizers of {call.name!r} depends on what would be removed"

    def _seen(self, call: Call, constants: Constants) -> Constants:
        return only_zero(constants)


def _quantized(layer: Any, name: str, weights: Any) -> np.ndarray:
    # A fresh quantizer: the layer's own one remembers the scale of its last call.
    fresh = type(layer).from_config(layer.get_config())
    quantizer = getattr(fresh, f"{name}_quantizer_internal")
    if quantizer is None:
        return to_numpy(weights)
    return to_numpy(quantizer(keras.ops.convert_to_tensor(weights)))
