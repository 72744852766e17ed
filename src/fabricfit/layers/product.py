# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""Layers that multiply by a matrix: the product ends the input units and makes new ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from fabricfit.description.elementwise import ElementwiseWork
from fabricfit.layers.activations import activate, why_units_mix
from fabricfit.layers.calls import Call
from fabricfit.layers.family import LayerFamily
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.units import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Wiring,
    only_zero,
    to_numpy,
)

__all__ = ["ProductFamily", "why_kernel_is_rewritten", "why_not_plain", "why_not_trained"]


class ProductFamily(LayerFamily):
    """A kernel, perhaps a bias, and an activation behind them.

    The layer has the attributes ``kernel``, ``bias``, ``use_bias`` and ``activation``, and calls its
    activation last. A family whose kernel is not of shape ``(…, n_in, n_out)`` returns a layout with it:
    its last row axis is that of input units, its only column axis that of output units; the rest follows.

    An input unit that is constant is folded into the bias; one whose rows of the kernel are zero for all
    remaining output units does not matter. Where the input is padded with zeros, only the constant 0 is the
    same at the border, so only it is constant.
    """

    passes_units = True
    has_own_units = True
    shareable = False
    piecewise_linear = True
    final_activation = "activation"
    own_work = ElementwiseWork.FREE

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return (Kernel(layer.kernel, layer, bias=layer.bias),)

    def refusal(self, layer: Any) -> str:
        return why_not_trained(layer)

    def obstacle(self, call: Call) -> str | None:
        return why_not_plain(call, 1)

    def pins_output(self, call: Call) -> str | None:
        return why_units_mix(call.layer.activation)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        kernel, bias = self.matrices(call.layer)
        known = self._known_inputs(call, inputs[0])
        varies = np.isnan(known)
        constant = (kernel[:, varies] == 0).all(axis=(0, 1))
        sums = bias + np.where(varies, 0.0, known) @ kernel.sum(axis=0)
        return activate(call.layer.activation, np.where(constant, sums, np.nan))

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        kernel, _ = self.matrices(call.layer)
        unused = (kernel[..., kept_output] == 0).all(axis=(0, 2))
        return unused | ~np.isnan(self._known_inputs(call, constants))

    def why_constants_matter(self, call: Call) -> str:
        padding = getattr(call.layer, "padding", None)
        return f"{call.name!r} pads its input with zeros (padding={padding!r})"

    def zero_units(self, call: Call) -> np.ndarray:
        return (self.matrices(call.layer)[0] == 0).all(axis=(0, 1))

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {"": Wiring(numbers.inputs[0], numbers.output)}

    def smaller_kernels(
        self, layer: Any, rows: np.ndarray, columns: np.ndarray
    ) -> list[np.ndarray]:
        """Return the layer's kernels without input and output units."""
        axes, kernel = self.kernels(layer)[0].axes, layer.get_weights()[0]
        return [kernel.compress(rows, axes.rows[-1]).compress(columns, axes.columns[0])]

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, rows, columns = call.layer, cut.kept_inputs[0], cut.kept_output
        kernels = self.smaller_kernels(layer, rows, columns)
        size = "units" if hasattr(layer, "units") else "filters"
        config: dict[str, Any] = {size: int(columns.sum())}

        folded = self._folded(call, cut)[columns]
        if layer.use_bias:
            bias = layer.get_weights()[-1][columns]
        elif folded.any():
            config["use_bias"] = True
            bias = np.zeros(folded.shape, kernels[0].dtype)
        else:
            return Replacement(config, kernels)
        # No detour by float64 where nothing is added: the other biases stay as they are to the bit.
        bias = np.where(folded == 0, bias, (bias.astype(np.float64) + folded).astype(bias.dtype))
        return Replacement(config, [*kernels, bias])

    def matrices(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the kernel as ``(window, n_in, n_out)`` and the bias, as the layer applies them."""
        axes, kernel = self.kernels(layer)[0].axes, to_numpy(layer.kernel)
        matrices = axes.matrix(kernel).reshape(-1, axes.axes[axes.rows[-1]], axes.n_columns)
        bias = getattr(layer, "bias", None)
        return matrices, to_numpy(bias) if bias is not None else np.zeros(axes.n_columns)

    def _known_inputs(self, call: Call, constants: Constants) -> Constants:
        padded = getattr(call.layer, "padding", "valid") != "valid"
        return only_zero(constants) if padded else constants

    def _folded(self, call: Call, cut: Cut) -> np.ndarray:
        """Return what removed inputs have added to each result."""
        kernel, _ = self.matrices(call.layer)
        removed = np.where(cut.kept_inputs[0], 0.0, self._known_inputs(call, cut.constants[0]))
        # What varies and is removed meets nothing but zeros.
        return np.nan_to_num(removed) @ kernel.sum(axis=0)


def why_not_trained(layer: Any) -> str:
    """Return why a layer's kernel is not a float tensor of its own, or ``''`` where it is."""
    if getattr(layer, "lora_enabled", False):
        return "LoRA is enabled, so that its kernel is a sum"
    if getattr(layer, "quantization_mode", None):
        return f"Keras has quantized it to {layer.quantization_mode}, which cannot be trained"
    return ""


def why_not_plain(call: Call, kernels: int) -> str | None:
    """Return why a layer is not just some kernels, perhaps a bias, and the units on the last axis."""
    layer, name = call.layer, call.name
    if getattr(layer, "data_format", None) not in (None, "channels_last"):
        return f"{name!r} has data_format={layer.data_format!r}"
    if (why := why_kernel_is_rewritten(layer, name)) is not None:
        return why
    if len(layer.weights) != kernels + bool(layer.use_bias):
        return f"{name!r} has weights other than kernel and bias"
    return None


def why_kernel_is_rewritten(layer: Any, name: str) -> str | None:
    """Return so where Keras multiplies by something other than the layer's kernel."""
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return f"{name!r} is quantized by Keras or has LoRA weights"
    return None
