"""Softmax as hls4ml builds it: a table of exponentials, their sum, and a table of reciprocals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import (
    FixedTensor,
    Format,
    NotModelledError,
    add,
    cast,
    multiply,
)
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.tables import float_function
from fabricfit.firmware.emulation.weights import KerasWeights

__all__ = ["coarse_table", "tree_reduce"]

_COARSE = 0.5
"""Largest step of the inputs without a remark: at this distance the odds of two classes differ by 1.6."""


@register("Softmax")
def softmax(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a softmax over one axis by the implementation that the node names."""
    inner, outer = int(node.get_attr("n_inner", 1)), int(node.get_attr("n_outer", 1))
    x, result = inputs[0], result_format(node)
    slices = np.moveaxis(x.values.reshape(len(x.values), outer, -1, inner), 2, -1)
    implementation = str(node.get_attr("implementation")).lower()
    sliced = FixedTensor(slices, x.format)
    match implementation:
        case "stable":
            y = _compute_stable(node, sliced, result)
        case "latency":
            y = _compute_latency(node, sliced, result)
        case "argmax":
            y = _compute_argmax(sliced, result)
        case _:
            raise NotModelledError(f"the softmax implementation {implementation!r}")
    return FixedTensor(np.moveaxis(y.values, -1, 2).reshape(x.shape), result)


def coarse_table(node: Any, x: Format) -> list[str]:
    """Return a remark where a softmax cannot resolve its inputs.

    The table is addressed by the upper bits of an input, so that a wide input, as hls4ml's ``auto``
    precision makes of a dense layer's result, leaves it a few coarse steps.
    """
    if str(node.get_attr("implementation")).lower() not in ("stable", "latency"):
        return []
    size = int(node.get_attr("exp_table_size", node.get_attr("table_size")))
    stable = str(node.get_attr("implementation")).lower() == "stable"
    step = 2.0 ** (x.integer - (stable and x.signed)) / size
    if step < _COARSE:
        return []
    return [
        f"softmax {node.name!r} resolves its inputs, {x}, in steps of {step:g}. State a 'result' with "
        "fewer integer bits for the layer before it."
    ]


def tree_reduce(
    terms: list[FixedTensor], combine: Callable[[FixedTensor, FixedTensor], FixedTensor]
) -> FixedTensor:
    """Combine terms pairwise as ``nnet::reduce`` does: a full binary tree first, then the rest."""
    if len(terms) == 1:
        return terms[0]
    left = 1 << ((len(terms) - 1).bit_length() - 1)
    return combine(tree_reduce(terms[:left], combine), tree_reduce(terms[left:], combine))


def _compute_stable(node: Any, x: FixedTensor, result: Format) -> FixedTensor:
    """Compute exponentials of the distance to the largest input, which is never negative."""
    most = FixedTensor(x.values.max(axis=-1, keepdims=True), x.format)
    size = _read_table_size(node, "exp_table_size")
    if node.get_attr("inp_norm_t") is None:
        signed = x.format.signed
        distance = Format(x.format.width - signed, x.format.integer - signed, signed=False)
        if signed:
            size = min(_read_table_size(node, "inv_table_size"), 2**distance.width)
    else:
        distance = format_of(node, "inp_norm_t")
    return _normalize(node, cast(add(most, x, -1), distance), size, -1, result)


def _compute_latency(node: Any, x: FixedTensor, result: Format) -> FixedTensor:
    return _normalize(node, x, _read_table_size(node, "exp_table_size"), 1, result)


def _compute_argmax(x: FixedTensor, result: Format) -> FixedTensor:
    one = cast(FixedTensor(np.array(1), Format(32, 32)), result)
    first = np.arange(x.shape[-1]) == x.values.argmax(axis=-1)[..., None]
    return FixedTensor(np.where(first, one.values, 0), result)


def _normalize(node: Any, x: FixedTensor, size: int, sign: int, result: Format) -> FixedTensor:
    """Return exponentials of ``sign * x`` times the reciprocal of their sum."""
    accum, exponential = format_of(node, "accum_t"), format_of(node, "exp_table_t")
    addressed = (
        "inv_inp_t" if node.get_attr("inv_inp_t").name != "model_default_t" else "exp_table_t"
    )
    scale = np.float32(node.get_attr("exp_scale", 1.0))
    at = _list_addresses(x.format, size).astype(np.float32) * scale
    exponentials = FixedTensor.from_float(float_function("exp")(sign * at), exponential)
    found = cast(_look_up(exponentials, x, size), accum)
    terms = [FixedTensor(found.values[..., i], accum) for i in range(x.shape[-1])]
    total = cast(
        tree_reduce(terms, lambda a, b: cast(add(a, b), accum)), format_of(node, addressed)
    )
    inverse_size = _read_table_size(node, "inv_table_size")
    with np.errstate(divide="ignore"):
        inverses = np.float32(1) / _list_addresses(total.format, inverse_size).astype(np.float32)
    reciprocals = FixedTensor.from_float(inverses, format_of(node, "inv_table_t"))
    factor = _look_up(reciprocals, total, inverse_size)
    return cast(multiply(found, FixedTensor(factor.values[..., None], factor.format)), result)


def _read_table_size(node: Any, attribute: str) -> int:
    size = int(node.get_attr(attribute, node.get_attr("table_size")))
    if size & (size - 1):
        raise NotModelledError(f"a softmax table of {size} entries, which is no power of two")
    return size


def _list_addresses(format: Format, size: int) -> np.ndarray:
    """Return the numbers whose upper bits are an entry's address and whose lower bits are zero."""
    bits = size.bit_length() - 1
    if bits > format.width:
        raise NotModelledError(f"a softmax table of {size} entries that is addressed by {format}")
    upper = FixedTensor(np.arange(size) << (format.width - bits), format)
    return cast(upper, Format(format.width, format.integer, format.signed)).to_float()


def _look_up(table: FixedTensor, x: FixedTensor, size: int) -> FixedTensor:
    shift = x.format.width - (size.bit_length() - 1)
    return FixedTensor(table.values[(x.values >> shift) & (size - 1)], table.format)
