# ruff: noqa: D102 - the methods are documented where LayerFamily and UnitFlow declare them
"""EinsumDense: a kernel of any axes, whose equation says which are summed over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

from fabricfit.description.layout import Layout
from fabricfit.description.strategies import CONSTANTS_ONLY
from fabricfit.layers.calls import Call
from fabricfit.layers.family import register_layer, shape_at
from fabricfit.layers.generated_code import EinsumProduct, GeneratedProduct
from fabricfit.layers.kernels import Kernel
from fabricfit.layers.matrix_form import MatrixForm, Tensor
from fabricfit.layers.product import ProductFamily, why_kernel_is_rewritten
from fabricfit.layers.scaling import is_linear
from fabricfit.layers.units import Cut, Replacement, to_numpy

__all__ = ["Einsum", "EinsumFamily", "EinsumForm", "einsum_kernel", "read_equation"]


@dataclass(frozen=True)
class Einsum:
    """The letters of an einsum of inputs and a kernel, ``'inputs,kernel->results'``.

    Parameters
    ----------
    inputs, kernel, results
        A letter for each axis; ``'...'`` of inputs and results may stand for any number.
    """

    inputs: str
    kernel: str
    results: str

    @property
    def positions(self) -> str:
        """Letters of the inputs, but the first one, that the kernel does not have."""
        return "".join(c for c in self.inputs[1:] if c not in self.kernel + ".")

    @property
    def groups(self) -> str:
        """Letters of the kernel that both inputs and results have."""
        return "".join(c for c in self.kernel if c in self.inputs and c in self.results)

    @property
    def summed(self) -> str:
        """Letters of the kernel that are summed over with the inputs."""
        return "".join(c for c in self.kernel if c in self.inputs and c not in self.results)

    @property
    def outputs(self) -> str:
        """Letters of the kernel alone."""
        return "".join(c for c in self.kernel if c not in self.inputs)

    @property
    def sums_over_units(self) -> bool:
        """Whether the last axis is summed over and another one takes its place: ``'abc,cd->abd'``."""
        return (
            len(self.kernel) == 2
            and (self.kernel[0], self.kernel[1]) == (self.inputs[-1], self.results[-1])
            and (self.inputs[:-1] == self.results[:-1] and self.kernel[1] not in self.inputs)
        )

    @property
    def is_matrix_product(self) -> bool:
        """Whether there is no ellipsis, and no axis but the first that is neither kept nor contracted."""
        left, kernel, right = self.inputs, self.kernel, self.results
        if "." in left + kernel + right:
            return False
        kept = set(left) <= set(kernel) | set(right) and set(kernel) <= set(left) | set(right)
        return kept and left[0] == right[0] and left[0] not in kernel


@lru_cache(maxsize=256)
def read_equation(equation: str) -> Einsum:
    """Read an equation of ``keras.layers.EinsumDense``."""
    operands, results = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return Einsum(inputs, kernel, results)


@register_layer
class EinsumFamily(ProductFamily):
    """``keras.layers.EinsumDense``; units pass where it sums over those of its input and makes others."""

    handles: tuple[type | str, ...] = (keras.layers.EinsumDense,)
    hls4ml_nodes = ("EinsumDense",)

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        return (einsum_kernel(layer),)

    def refusal(self, layer: Any) -> str:
        if einsum_kernel(layer).layout is None:
            return f"no axis of its kernel makes results by itself (equation {layer.equation!r})"
        return super().refusal(layer)

    def why_precision_stays(self, layer: Any) -> str:
        einsum = read_equation(layer.equation)
        if einsum.inputs[-1] not in einsum.kernel:
            return "the last axis of its input is none of its kernel's"
        return super().why_precision_stays(layer)

    def matrix_form(self, layer: Any) -> MatrixForm | None:
        return EinsumForm() if read_equation(layer.equation).is_matrix_product else None

    def generated_products(
        self, node: Any, structs: Mapping[str, str]
    ) -> tuple[GeneratedProduct, ...]:
        struct = f"config{node.index}_dense"
        return (EinsumProduct(node, node.name, struct, counts_constants=False),)

    def scaled_results(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        einsum, kernel = read_equation(layer.equation), to_numpy(layer.kernel)
        letter = einsum.results[-1]
        if axis != -1 or letter not in einsum.kernel or not is_linear(layer):
            return None
        scaled = np.moveaxis(
            np.moveaxis(kernel, place := einsum.kernel.index(letter), -1) * scale, -1, place
        )
        if layer.bias is None:
            return Replacement({"bias_axes": letter}, _alike(layer, [scaled, offset]))
        if not layer.bias_axes.endswith(letter):
            return None
        return Replacement({}, _alike(layer, [scaled, to_numpy(layer.bias) * scale + offset]))

    def scaled_inputs(
        self, layer: Any, axis: int, scale: np.ndarray, offset: np.ndarray
    ) -> Replacement | None:
        einsum, kernel = read_equation(layer.equation), to_numpy(layer.kernel)
        if axis != -1 or not einsum.sums_over_units or why_kernel_is_rewritten(layer, ""):
            return None
        added, scaled = offset @ kernel, kernel * scale[:, None]
        if layer.bias is None:
            changes = {"bias_axes": einsum.results[-1]}
            return Replacement(changes, _alike(layer, [scaled, added]))
        if not layer.bias_axes.endswith(einsum.results[-1]):
            return None
        return Replacement({}, _alike(layer, [scaled, to_numpy(layer.bias) + added]))

    def obstacle(self, call: Call) -> str | None:
        layer = call.layer
        one_bias_each = layer.bias is None or layer.bias.ndim == 1
        if not read_equation(layer.equation).sums_over_units or not one_bias_each:
            return f"{call.name!r} sums over more than its units (equation {layer.equation!r})"
        return why_kernel_is_rewritten(layer, call.name)

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


def _alike(layer: Any, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return weights in the float type of the layer's kernel."""
    return [each.astype(layer.kernel.dtype) for each in weights]


def einsum_kernel(layer: Any, part: str = "", units: int | None = None) -> Kernel:
    """Return the kernel of an EinsumDense layer.

    Parameters
    ----------
    layer
        The layer.
    part
        Its name, where it is one of several.
    units
        The only axis of the kernel that is one of units; all axes of results without it.
    """
    einsum = read_equation(layer.equation)
    shape = tuple(layer.kernel.shape)
    columns = tuple(i for i, letter in enumerate(einsum.kernel) if letter in einsum.results)
    rows = tuple(i for i, letter in enumerate(einsum.kernel) if letter not in einsum.results)
    own = tuple(i for i in columns if einsum.kernel[i] in einsum.outputs)
    if not own:
        return Kernel(layer.kernel, layer, part, layer.bias)
    wanted = own if units is None else (units,)
    layout = Layout(shape, rows, columns, wanted)
    bias = layer.bias
    bias_layout = None
    if bias is not None:
        bias_layout = _bias_layout(layer, einsum, wanted)
        bias = bias if bias_layout is not None else None
    made = shape_at(layer, "output")
    results = math.prod(length or 1 for length in made)
    positions = max(results // layout.n_columns, 1) if made else None
    return Kernel(
        layer.kernel,
        layer,
        part,
        bias,
        layout,
        bias_layout,
        dense=True,
        strategies=CONSTANTS_ONLY,
        built_instead={"resource_unrolled": "latency"},
        positions=positions,
        input_axis=place if (place := einsum.kernel.find(einsum.inputs[-1])) >= 0 else None,
    )


def _bias_layout(layer: Any, einsum: Einsum, units: tuple[int, ...]) -> Layout | None:
    """Return which axes of the bias are units; None where it has not all of them."""
    shape = tuple(layer.bias.shape)
    named = einsum.results.replace("...", "")[-len(shape) :] if shape else ""
    wanted = [einsum.kernel[unit] for unit in units]
    if any(letter not in named for letter in wanted):
        return None
    every = tuple(range(len(shape)))
    return Layout(shape, (), every, tuple(named.index(letter) for letter in wanted))


class EinsumForm(MatrixForm):
    """EinsumDense, where every axis but the first is kept or contracted with the kernel."""

    def layout(self, layer: Any) -> Layout:
        """See :meth:`MatrixForm.layout`."""
        einsum = read_equation(layer.equation)
        summed, groups, outputs = (
            tuple(einsum.kernel.index(c) for c in part)
            for part in (einsum.summed, einsum.groups, einsum.outputs)
        )
        return Layout(tuple(layer.kernel.shape), summed, (*groups, *outputs), outputs)

    def rows(self, layer: Any, inputs: Tensor) -> Tensor:
        """See :meth:`MatrixForm.rows`."""
        einsum = read_equation(layer.equation)
        sizes = dict(zip(einsum.inputs, inputs.shape, strict=True))
        parts = (einsum.positions, einsum.groups, einsum.summed)
        order = einsum.inputs[0] + "".join(parts)
        turned = ops.transpose(inputs, [einsum.inputs.index(c) for c in order])
        shape = [math.prod(sizes[c] for c in part) for part in parts]
        return ops.reshape(turned, (inputs.shape[0], *shape))

    def restore(self, layer: Any, columns: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See :meth:`MatrixForm.restore`."""
        einsum = read_equation(layer.equation)
        sizes = dict(zip(einsum.results, shape, strict=True))
        order = einsum.results[0] + einsum.positions + einsum.groups + einsum.outputs
        spread = ops.reshape(columns, [sizes[c] for c in order])
        return ops.transpose(spread, [order.index(c) for c in einsum.results])
