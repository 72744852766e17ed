# ruff: noqa: D102 - the methods are documented where Rule declares them
"""Dense and convolutional layers: a matrix product that ends the input units and makes new ones."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fabricfit.layers.calls import Call
from fabricfit.surgery.activations import activate, why_mixing
from fabricfit.surgery.rules import (
    Constants,
    Cut,
    Numbers,
    Replacement,
    Rule,
    Wiring,
    only_zero,
    public_layers,
    register,
    to_numpy,
)

__all__ = [
    "EinsumProduct",
    "Product",
    "SeparableProduct",
    "TransposedProduct",
    "plain_kernel_obstacle",
    "rewritten_kernel",
]


@register
class Product(Rule):
    """A kernel of shape ``(…, n_in, n_out)``, a bias and an activation.

    An input unit that is constant is folded into the bias; one whose rows of the kernel are zero
    for all remaining output units does not matter. Where the input is padded with zeros, only the
    constant 0 is the same at the border, so only it is constant.
    """

    handles: tuple[type | str, ...] = (
        keras.layers.Dense,
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
    )
    has_own_units = True
    shareable = False

    def obstacle(self, call: Call) -> str | None:
        groups = getattr(call.layer, "groups", 1)
        if groups != 1:
            return f"{call.name!r} is a convolution in {groups} groups"
        return plain_kernel_obstacle(call, "kernel")

    def pins_output(self, call: Call) -> str | None:
        return why_mixing(call.layer.activation)

    def constants(self, call: Call, inputs: tuple[Constants, ...]) -> Constants:
        kernel, bias = self.used_weights(call.layer)
        known = self._seen(call, inputs[0])
        varies = np.isnan(known)
        constant = (kernel[:, varies] == 0).all(axis=(0, 1))
        sums = bias + np.where(varies, 0.0, known) @ kernel.sum(axis=0)
        return activate(call.layer.activation, np.where(constant, sums, np.nan))

    def dispensable(
        self, call: Call, port: int, constants: Constants, kept_output: np.ndarray
    ) -> np.ndarray:
        kernel, _ = self.used_weights(call.layer)
        unused = (kernel[..., kept_output] == 0).all(axis=(0, 2))
        return unused | ~np.isnan(self._seen(call, constants))

    def why_constants_matter(self, call: Call) -> str:
        padding = getattr(call.layer, "padding", None)
        return f"{call.name!r} pads its input with zeros (padding={padding!r})"

    def zero_units(self, call: Call) -> np.ndarray:
        return (self.used_weights(call.layer)[0] == 0).all(axis=(0, 1))

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        return {"": Wiring(numbers.inputs[0], numbers.output)}

    def smaller_kernels(
        self, layer: Any, rows: np.ndarray, columns: np.ndarray
    ) -> list[np.ndarray]:
        """Return the layer's kernels without input and output units."""
        return [layer.get_weights()[0][..., rows, :][..., columns]]

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, rows, columns = call.layer, cut.kept_inputs[0], cut.kept_output
        kernels = self.smaller_kernels(layer, rows, columns)
        size = "units" if "units" in layer.get_config() else "filters"
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

    def used_weights(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the kernel as ``(taps, n_in, n_out)`` and the bias, as the layer applies them."""
        kernel = to_numpy(layer.kernel)
        bias = to_numpy(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
        return kernel.reshape(-1, *kernel.shape[-2:]), bias

    def _seen(self, call: Call, constants: Constants) -> Constants:
        padded = getattr(call.layer, "padding", "valid") != "valid"
        return only_zero(constants) if padded else constants

    def _folded(self, call: Call, cut: Cut) -> np.ndarray:
        kernel, _ = self.used_weights(call.layer)
        gone = np.where(cut.kept_inputs[0], 0.0, self._seen(call, cut.constants[0]))
        # What varies and is removed meets nothing but zeros.
        return np.nan_to_num(gone) @ kernel.sum(axis=0)


@register
class EinsumProduct(Product):
    """An einsum that sums over the units of its input and makes others: ``'abc,cd->abd'``."""

    handles = public_layers(("EinsumDense",))

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        if not _is_plain_sum(layer.equation) or (layer.bias is not None and layer.bias.ndim != 1):
            return f"{call.name!r} sums over more than its units (equation {layer.equation!r})"
        return rewritten_kernel(layer, call.name)

    def used_weights(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        kernel = to_numpy(layer.kernel)
        bias = to_numpy(layer.bias) if layer.bias is not None else np.zeros(kernel.shape[-1])
        return kernel[None], bias

    def replacement(self, call: Call, cut: Cut) -> Replacement:
        layer, columns = call.layer, cut.kept_output
        made = [layer.get_weights()[0][cut.kept_inputs[0]][:, columns]]
        folded = self._folded(call, cut)[columns]
        shape = [*layer.partial_output_shape[:-1], int(columns.sum())]
        config: dict[str, Any] = {"output_shape": shape}
        if layer.bias is not None or folded.any():
            config["bias_axes"] = layer.equation[-1]
            bias = layer.get_weights()[1][columns] if layer.bias is not None else 0.0
            made.append((bias + folded).astype(made[0].dtype))
        return Replacement(config, made)


def _is_plain_sum(equation: str) -> bool:
    inputs, rest = equation.replace(" ", "").split(",")
    kernel, results = rest.split("->")
    return (
        len(kernel) == 2
        and (kernel[0], kernel[1]) == (inputs[-1], results[-1])
        and (inputs[:-1] == results[:-1] and kernel[1] not in inputs)
    )


@register
class TransposedProduct(Product):
    """A transposed convolution: a kernel of shape ``(…, n_out, n_in)``.

    Near the borders fewer inputs meet, so that only the constant 0 is the same everywhere.
    """

    handles = public_layers(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"))

    def used_weights(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        kernel = np.swapaxes(to_numpy(layer.kernel), -1, -2)
        bias = to_numpy(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
        return kernel.reshape(-1, *kernel.shape[-2:]), bias

    def smaller_kernels(
        self, layer: Any, rows: np.ndarray, columns: np.ndarray
    ) -> list[np.ndarray]:
        return [layer.get_weights()[0][..., columns, :][..., rows]]

    def why_constants_matter(self, call: Call) -> str:
        return f"{call.name!r} adds up fewer inputs near the border than inside"

    def _seen(self, call: Call, constants: Constants) -> Constants:
        return only_zero(constants)


@register
class SeparableProduct(Product):
    """A depthwise convolution and a pointwise one behind it, which together are one product."""

    handles = public_layers(("SeparableConv1D", "SeparableConv2D"))

    def obstacle(self, call: Call) -> str | None:
        return plain_kernel_obstacle(call, "depthwise_kernel", "pointwise_kernel")

    def used_weights(self, layer: Any) -> tuple[np.ndarray, np.ndarray]:
        depthwise, pointwise = to_numpy(layer.depthwise_kernel), to_numpy(layer.pointwise_kernel)
        inputs, multiplier = depthwise.shape[-2:]
        pointwise = pointwise.reshape(inputs, multiplier, -1)
        kernel = np.einsum("tim,imo->tio", depthwise.reshape(-1, inputs, multiplier), pointwise)
        bias = to_numpy(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
        return kernel, bias

    def smaller_kernels(
        self, layer: Any, rows: np.ndarray, columns: np.ndarray
    ) -> list[np.ndarray]:
        depthwise, pointwise = layer.get_weights()[:2]
        between = np.repeat(rows, depthwise.shape[-1])
        return [depthwise[..., rows, :], pointwise[..., between, :][..., columns]]

    def wiring(self, call: Call, numbers: Numbers) -> dict[str, Wiring]:
        between = np.repeat(numbers.inputs[0], call.layer.depth_multiplier)
        return {
            "depthwise_kernel": Wiring(None, between),
            "pointwise_kernel": Wiring(between, numbers.output),
        }


def plain_kernel_obstacle(call: Call, *names: str) -> str | None:
    """Say why a layer is not just a kernel, perhaps a bias, and the units on the last axis."""
    layer, name = call.layer, call.name
    if getattr(layer, "data_format", None) not in (None, "channels_last"):
        return f"{name!r} has data_format={layer.data_format!r}"
    if (why := rewritten_kernel(layer, name)) is not None:
        return why
    if len(layer.weights) != len(names) + bool(layer.use_bias):
        return f"{name!r} has weights other than kernel and bias"
    return None


def rewritten_kernel(layer: Any, name: str) -> str | None:
    """Say so where Keras multiplies by something other than the layer's kernel."""
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return f"{name!r} is quantized by Keras or has LoRA weights"
    return None
