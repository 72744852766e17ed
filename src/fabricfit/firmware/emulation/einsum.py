"""EinsumDense: dense layers side by side, of inputs and weights whose axes are moved."""

from __future__ import annotations

import math
from string import ascii_letters
from typing import Any

import numpy as np

from fabricfit.firmware.emulation.fixed import FixedTensor, Format, NotModelledError, add, cast
from fabricfit.firmware.emulation.matrix_products import accumulate, refuse_ternary, sum_exactly
from fabricfit.firmware.emulation.registry import format_of, register, result_format
from fabricfit.firmware.emulation.weights import KerasWeights, quantize_as_written
from fabricfit.layers.einsum import Einsum, read_equation

__all__: list[str] = []


@register("EinsumDense")
def einsum_dense(node: Any, inputs: list[FixedTensor], weights: KerasWeights) -> FixedTensor:
    """Compute a dense layer for every group of weights and every position (``nnet_einsum_dense.h``)."""
    kernel, given = weights.kernel(node), weights.inputs(node, inputs[0])
    letters = _spell_out(read_equation(weights.layer(node).equation), len(given.shape))
    first, groups, places = letters.inputs[0], letters.groups, letters.positions
    summed, outputs = letters.summed, letters.outputs
    sizes = dict(zip(letters.inputs, given.shape, strict=True))
    sizes |= dict(zip(letters.kernel, kernel.shape, strict=True))
    n_places, n_in, n_out = (_count(sizes, part) for part in (places, summed, outputs))
    x = _arrange(given.values, letters.inputs, first + groups + places + summed)
    x = x.reshape(len(x), -1, n_places, n_in)
    matrices = _arrange(kernel.values, letters.kernel, groups + summed + outputs)
    form = Format.of(node.get_weights("bias").type.precision)
    numbers = np.broadcast_to(weights.bias_as_given(node), [sizes[c] for c in letters.results[1:]])
    bias = quantize_as_written(
        _arrange(numbers, letters.results[1:], groups + places + outputs), form
    )
    starts = bias.reshaped(-1, n_places, n_out)
    made = [
        _multiply(
            node,
            FixedTensor(x[:, group].reshape(-1, n_in), given.format),
            FixedTensor(matrix, kernel.format),
            FixedTensor(np.tile(starts.values[group], (len(x), 1)), form),
        )
        for group, matrix in enumerate(matrices.reshape(-1, n_in, n_out))
    ]
    total = np.stack([each.values.reshape(len(x), n_places, n_out) for each in made], axis=1)
    order = first + groups + places + outputs
    spread = total.reshape([sizes[c] for c in order])
    results = FixedTensor(_arrange(spread, order, letters.results), made[0].format)
    return cast(results, result_format(node))


def _multiply(
    node: Any, inputs: FixedTensor, matrix: FixedTensor, bias: FixedTensor
) -> FixedTensor:
    """Multiply by the weights of one group, in the accumulator's format."""
    accum = format_of(node, "accum_t")
    if node.get_attr("strategy") == "distributed_arithmetic":
        # An exact sum is held, and then a bias added.
        return cast(add(cast(sum_exactly(inputs, matrix), accum), bias), accum)
    refuse_ternary(node)
    return accumulate(inputs, matrix, bias, accum, range(inputs.shape[1]))


def _spell_out(einsum: Einsum, rank: int) -> Einsum:
    """Return an einsum with a letter for each axis that ``'...'`` stands for, where hls4ml builds it."""
    used = einsum.inputs + einsum.kernel + einsum.results
    spare = [c for c in ascii_letters if c not in used]
    hidden = "".join(spare[: rank - len(einsum.inputs.replace("...", ""))])
    inputs, results = (text.replace("...", hidden) for text in (einsum.inputs, einsum.results))
    found = Einsum(inputs, einsum.kernel, results)
    kept = set(found.positions + found.groups + found.outputs)
    if inputs[0] != results[0] or set(results[1:]) != kept:
        raise NotModelledError(f"the equation {einsum.inputs},{einsum.kernel}->{einsum.results}")
    return found


def _arrange(values: np.ndarray, letters: str, order: str) -> np.ndarray:
    return values.transpose([letters.index(c) for c in order])


def _count(sizes: dict[str, int], letters: str) -> int:
    return math.prod(sizes[c] for c in letters)
