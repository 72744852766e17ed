"""EinsumDense: a kernel of any axes, whose equation says which are summed over."""

from __future__ import annotations

import math
from typing import Any

import keras

from fabricfit.description.layout import Layout
from fabricfit.layers.base import CONSTANTS_ONLY, Kernel, LayerHandler, register_layer, shape_at
from fabricfit.layers.dense import why_not_its_own

__all__ = ["EinsumDenseHandler", "einsum_kernel"]


class EinsumDenseHandler(LayerHandler):
    """``keras.layers.EinsumDense``."""

    def handles(self, layer_type: type) -> bool:
        """Tell whether this is EinsumDense itself."""
        return layer_type is keras.layers.EinsumDense

    def kernels(self, layer: Any) -> tuple[Kernel, ...]:
        """Return the kernel."""
        return (einsum_kernel(layer),)

    def refusal(self, layer: Any) -> str:
        """Refuse what is no matrix product."""
        if einsum_kernel(layer).layout is None:
            return f"no axis of its kernel makes results by itself (equation {layer.equation!r})"
        return why_not_its_own(layer)


def einsum_kernel(layer: Any, part: str = "", units: int | None = None) -> Kernel:
    """Return the kernel of an EinsumDense layer.

    Parameters
    ----------
    layer
        The layer.
    part
        What to call it, where it is one of several.
    units
        The only axis of the kernel that tells units; all axes of results without it.
    """
    inputs, rest = layer.equation.replace(" ", "").split(",")
    letters, results = rest.split("->")
    shape = tuple(layer.kernel.shape)
    columns = tuple(i for i, letter in enumerate(letters) if letter in results)
    rows = tuple(i for i, letter in enumerate(letters) if letter not in results)
    own = tuple(i for i in columns if letters[i] not in inputs)
    if not own:
        return Kernel(layer.kernel, layer, part, layer.bias)
    wanted = own if units is None else (units,)
    layout = Layout(shape, rows, columns, wanted)
    bias = layer.bias
    bias_layout = None
    if bias is not None:
        bias_layout = _bias_layout(layer, letters, results, wanted)
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
        positions=positions,
    )


def _bias_layout(layer: Any, letters: str, results: str, units: tuple[int, ...]) -> Layout | None:
    """Return which axes of the bias are units; None where it has not all of them."""
    shape = tuple(layer.bias.shape)
    named = results.replace("...", "")[-len(shape) :] if shape else ""
    wanted = [letters[unit] for unit in units]
    if any(letter not in named for letter in wanted):
        return None
    every = tuple(range(len(shape)))
    return Layout(shape, (), every, tuple(named.index(letter) for letter in wanted))


register_layer(EinsumDenseHandler())
